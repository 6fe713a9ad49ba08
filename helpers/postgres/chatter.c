/*
 * chatter.c: the lines of cycles that have nothing to do (spec/config.md 14).
 *
 * At level INFO exactly, "Lock owner: ..." is held back: what follows decides
 * whether it is worth its line.  With log.deduplicate_heartbeat_logs the line
 * that follows is left out as well when it says what the last one said.
 */
#include <string.h>

#include "controller.h"

static void
emit(int level, const char *rule, const char *text)
{
	log_rule(level, rule[0] != '\0' ? rule : NULL, "%s", text);
}

static bool
starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

void
chatter_log(struct controller *c, const struct ha_fx *fx)
{
	bool held = c->held_line[0] != '\0', beat;

	if (!log_enabled(fx->level))
		return;
	if (log_enabled(LOG_LVL_INFO - 1) || !log_enabled(LOG_LVL_INFO)) {
		c->held_line[0] = c->last_beat[0] = '\0';
		emit(fx->level, fx->rule, fx->text);
		return;
	}
	if (starts(fx->text, "Lock owner: ") &&
	    text_set(c->held_line, sizeof c->held_line, fx->text))
		return;
	beat = starts(fx->text, "no action. ") ||
	    starts(fx->text, "PAUSE: no action");
	if (held && !beat) {
		emit(LOG_LVL_INFO, "", c->held_line);
		c->last_beat[0] = '\0';
	}
	c->held_line[0] = '\0';
	if (held && beat) {
		if (strcmp(c->last_beat, fx->text) == 0 &&
		    tree_path_bool(
			c->local, "log.deduplicate_heartbeat_logs", false))
			return;
		(void)text_set(c->last_beat, sizeof c->last_beat, fx->text);
	}
	emit(fx->level, fx->rule, fx->text);
}
