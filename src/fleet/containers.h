/* fleet/containers.h - private to fleet: reading what the Docker or Podman API says about labelled containers. No I/O. */
#ifndef DROVER_FLEET_CONTAINERS_H
#define DROVER_FLEET_CONTAINERS_H

#include "base/json.h"

/* The list of running containers that carry the label drover.endpoint. */
#define CONTAINERS_PATH "/containers/json?filters=%7B%22label%22%3A%5B%22drover.endpoint%22%5D%7D"

enum { CONTAINERS_MAX = 64 };

struct container_place {
    struct sv host;    /* borrowed from the document, or constant */
    uint16_t port;
    struct sv name;    /* label drover.name, if it is a good name */
};

/* Where a container's runtime can be reached. The label's value is the port inside the container; without one the first
 * published port counts. False when there is no such place. */
bool container_read(yyjson_val *container, struct container_place *ret_place);

#endif
