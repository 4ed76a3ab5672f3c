/* Which strings are links, and which of these lead inside. Every row that is not MEDIA_PUBLIC was reached, or read in another
 * way, by some program that fetches URLs. */
#include "gateway/exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const struct {
    char text[72];
    enum media_link is;
} links[] = {
    { "https://example.com/a.png", MEDIA_PUBLIC },
    { "HTTPS://Example.COM./a", MEDIA_PUBLIC },
    { "https://user:pa%20ss@example.com:8443/?u=http://127.0.0.1/", MEDIA_PUBLIC },
    { "http://93.184.216.34/a", MEDIA_PUBLIC },
    { "https://[2606:2800:220:1::1]:8443/a", MEDIA_PUBLIC },
    { "https://a_b.example.com#x@127.0.0.1", MEDIA_PUBLIC },
    { "s3://bucket.example.com/x", MEDIA_PUBLIC },

    { "", MEDIA_NO_LINK },
    { "data:image/png;base64,http://127.0.0.1/", MEDIA_NO_LINK },
    { "/9j/4AAQSkZJRgABAQAAAQ+/==", MEDIA_NO_LINK },
    { "Note: see http://127.0.0.1/", MEDIA_NO_LINK },
    { "what is http://127.0.0.1/ ?", MEDIA_NO_LINK },
    { "a:1", MEDIA_NO_LINK },

    { "http://127.0.0.1:80/", MEDIA_NEAR },
    { "http://u@127.0.0.1/", MEDIA_NEAR },
    { "http://LOCALHOST./x", MEDIA_NEAR },
    { "http://router", MEDIA_NEAR },
    { "http://nas.local/", MEDIA_NEAR },
    { "http://127.1/", MEDIA_NEAR },
    { "http://1.0x7f/", MEDIA_NEAR },
    { "http://2130706433/", MEDIA_NEAR },
    { "http://0177.0.0.01/", MEDIA_NEAR },
    { "http://[::1]/", MEDIA_NEAR },
    { "http://[::ffff:10.0.0.1]/", MEDIA_NEAR },
    { "file:/etc/passwd", MEDIA_NEAR },
    { "ftp://10.0.0.1/", MEDIA_NEAR },
    { " \t\nhttp://127.0.0.1/", MEDIA_NEAR },
    { "\xe3\x80\x80http://127.0.0.1/", MEDIA_NEAR },
    { "<URL:http://127.0.0.1/>", MEDIA_NEAR },
    { "ht\ntp://127.0.0.1/", MEDIA_NEAR },
    { "git+http://127.0.0.1/", MEDIA_NEAR },

    { "http://%31%32%37.0.0.1/", MEDIA_UNCLEAR },
    { "http:/127.0.0.1/", MEDIA_UNCLEAR },
    { "http:127.0.0.1/", MEDIA_UNCLEAR },
    { "http:", MEDIA_UNCLEAR },
    { "http:///127.0.0.1/", MEDIA_UNCLEAR },
    { "http:\\\\127.0.0.1\\x", MEDIA_UNCLEAR },
    { "http:/\\127.0.0.1", MEDIA_UNCLEAR },
    { "s3:/127.0.0.1", MEDIA_UNCLEAR },
    { "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97.0.0.1/", MEDIA_UNCLEAR },
    { "http://127\xe3\x80\x82" "0.0.1/", MEDIA_UNCLEAR },
    { "http://example.com\\@127.0.0.1/", MEDIA_UNCLEAR },
    { "http://a@b@127.0.0.1/", MEDIA_UNCLEAR },
    { "http://example.com:80:80/", MEDIA_UNCLEAR },
    { "http://example.com:80a/", MEDIA_UNCLEAR },
    { "http://[::1/", MEDIA_UNCLEAR },
    { "http://[example.com]/", MEDIA_UNCLEAR },
    { "http://[::1]x/", MEDIA_UNCLEAR },
    { "http://[fe80::1%25eth0]/", MEDIA_UNCLEAR },
    { "http://127.0.0.1\t/", MEDIA_UNCLEAR },
    { "http://.127.0.0.1/", MEDIA_UNCLEAR },
    { "http://example..com/", MEDIA_UNCLEAR },
    { "http://exa mple.com/", MEDIA_UNCLEAR },
};

static void links_are_judged_by_how_they_are_written(void **state) {
    struct sv host;
    (void)state;
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        if (media__link(sv_of(links[i].text), &host) != links[i].is)
            print_error("%s\n", links[i].text);
        assert_int_equal(media__link(sv_of(links[i].text), &host), links[i].is);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_are_judged_by_how_they_are_written),
    };
    return cmocka_run_group_tests_name("gateway/media", tests, NULL, NULL);
}
