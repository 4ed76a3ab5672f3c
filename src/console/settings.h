/* console/settings.h - private to console: putting changed settings in force. */
#ifndef DROVER_CONSOLE_SETTINGS_H
#define DROVER_CONSOLE_SETTINGS_H

#include "console/admin.h"

struct change;
struct request;

/* One endpoint added, changed or removed, with all that goes with a change of settings: rows of the audit log, the disk, a reload. Answers. action,
 * object: for the audit log. */
void settings__endpoint(struct request *r, const struct config_endpoint_edit *edit, const char *action, struct sv object);
/* The settings as they would be with it; NULL, and answered: they cannot be. */
struct config *settings__with(struct request *r, const struct config_endpoint_edit *edit);
/* Whether the caller has seen what is in force (If-Match), and nothing is being changed; false: answered. */
bool settings__seen(struct request *r);
/* What next says was set from the console goes to the disk, and then the house reloads as for SIGHUP. False with *e set when either is
 * refused: then what is on the disk is what the running settings say, and they stay in force. */
bool settings__apply(const struct admin_house *h, const struct config *next, struct err *e) MUST_CHECK;
/* The admin server ends: a change that waits for its row of the audit log is not made. NULL is fine. */
void settings__drop(struct change *c);

#endif
