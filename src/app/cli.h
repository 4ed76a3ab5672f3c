/* app/cli.h - the verbs of the command line. */
#ifndef DROVER_APP_CLI_H
#define DROVER_APP_CLI_H

/* Exit codes (product contract). */
enum cli_exit { CLI_DONE, CLI_FAILED, CLI_USAGE, CLI_UNREACHABLE, CLI_REFUSED, CLI_NOT_FOUND, CLI_TIMED_OUT };

int cli_main(int argc, char **argv);

#endif
