#include "fleet/containers.h"

static bool port_of(yyjson_val *v, uint16_t *ret_port) {
    uint64_t n = yyjson_is_uint(v) ? yyjson_get_uint(v) : 0;
    *ret_port = n <= 65535 ? (uint16_t)n : 0;
    return *ret_port != 0;
}

static struct sv reachable(struct sv ip) {
    return ip.n == 0 || sv_eq(ip, SV("0.0.0.0")) || sv_eq(ip, SV("::")) || sv_eq(ip, SV("::1")) ? SV("127.0.0.1") : ip;
}

static bool published(yyjson_val *ports, uint16_t wanted, struct container_place *ret) {
    size_t i, n;
    yyjson_val *p;
    if (!yyjson_is_arr(ports))
        return false;
    yyjson_arr_foreach(ports, i, n, p) {
        uint16_t inside = 0, outside;
        struct sv type = json_str(p, "Type");
        if (!port_of(json_get(p, "PublicPort"), &outside) || !(type.n == 0 || sv_eq(type, SV("tcp"))))
            continue;
        port_of(json_get(p, "PrivatePort"), &inside);
        if (wanted && inside != wanted)
            continue;
        ret->host = reachable(json_str(p, "IP"));
        ret->port = outside;
        return true;
    }
    return false;
}

/* The container's own address: reachable from the machine itself on Linux. */
static bool on_its_network(yyjson_val *container, uint16_t wanted, struct container_place *ret) {
    yyjson_val *networks = json_at(container, "NetworkSettings.Networks"), *key, *value;
    size_t i, n;
    if (!wanted || !yyjson_is_obj(networks))
        return false;
    yyjson_obj_foreach(networks, i, n, key, value) {
        ret->host = json_str(value, "IPAddress");
        ret->port = wanted;
        if (ret->host.n)
            return true;
    }
    return false;
}

static bool good_name(struct sv name) {
    for (size_t i = 0; i < name.n; i++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", name.p[i] ? name.p[i] : '/'))
            return false;
    return name.n > 0 && name.n <= 64;
}

bool container_read(yyjson_val *container, struct container_place *ret_place) {
    yyjson_val *labels = json_get(container, "Labels");
    struct container_place at = { .name = json_str(labels, "drover.name") };
    uint64_t wanted = 0;
    if (!sv_to_u64(json_str(labels, "drover.endpoint"), &wanted) || wanted > 65535)
        wanted = 0;
    if (!published(json_get(container, "Ports"), (uint16_t)wanted, &at) && !on_its_network(container, (uint16_t)wanted, &at))
        return false;
    if (!good_name(at.name))
        at.name = SV_NULL;
    *ret_place = at;
    return true;
}
