/*
 * notes.c: collected remarks about a configuration.
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf.h"

void
conf_note(
    struct conf_notes *notes, enum conf_severity severity, const char *fmt, ...)
{
	struct conf_note *v;
	char *text;
	va_list ap;
	int n;

	if (notes == NULL)
		return;
	if (severity == CONF_ERROR)
		notes->errors++;
	if (notes->n == CONF_MAX_NOTES) {
		notes->dropped++;
		return;
	}
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		notes->dropped++;
		return;
	}
	v = realloc(notes->v, (notes->n + 1) * sizeof(*v));
	if (v == NULL) {
		free(text);
		notes->dropped++;
		return;
	}
	notes->v = v;
	v[notes->n].severity = severity;
	v[notes->n].text = text;
	notes->n++;
}

void
conf_notes_print_errors(const struct conf_notes *notes, FILE *f)
{
	for (uint32_t i = 0; i < notes->n; i++)
		if (notes->v[i].severity == CONF_ERROR)
			fprintf(f, "%s\n", notes->v[i].text);
	if (notes->dropped > 0)
		fprintf(f, "%u more\n", notes->dropped);
}

void
conf_notes_log(const struct conf_notes *notes)
{
	for (uint32_t i = 0; i < notes->n; i++) {
		switch (notes->v[i].severity) {
		case CONF_INFO:
			log_info("%s", notes->v[i].text);
			break;
		case CONF_WARNING:
			log_warn("%s", notes->v[i].text);
			break;
		case CONF_ERROR:
			log_error("%s", notes->v[i].text);
			break;
		}
	}
	if (notes->dropped > 0)
		log_warn(
		    "%u more remarks on the configuration", notes->dropped);
}

void
conf_notes_free(struct conf_notes *notes)
{
	for (uint32_t i = 0; i < notes->n; i++)
		free(notes->v[i].text);
	free(notes->v);
	notes->v = NULL;
	notes->n = 0;
	notes->dropped = 0;
	notes->errors = 0;
}
