/*
 * json.c: see json.h.
 */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static json_t *
container_from_tree(const struct tree *t)
{
	json_t *j, *child;
	uint32_t i;
	int rc;

	j = t->type == TREE_MAP ? json_object() : json_array();
	if (j == NULL)
		return NULL;
	for (i = 0; i < tree_count(t); i++) {
		const struct tree *c = tree_child(t, i);

		child = json_from_tree(c); /* set_new takes NULL as an error */
		rc = t->type == TREE_MAP ?
		    json_object_set_new(j, c->key, child) :
		    json_array_append_new(j, child);
		if (rc != 0) {
			json_decref(j);
			return NULL;
		}
	}
	return j;
}

json_t *
json_from_tree(const struct tree *t)
{
	if (t == NULL)
		return NULL;
	switch (t->type) {
	case TREE_NULL:
		return json_null();
	case TREE_BOOL:
		return json_boolean(t->u.b);
	case TREE_INT:
		return json_integer(t->u.i);
	case TREE_REAL:
		return json_real(t->u.r);
	case TREE_TEXT:
		return json_string(t->u.s);
	case TREE_LIST:
	case TREE_MAP:
		return container_from_tree(t);
	}
	return NULL;
}

char *
json_compact(const json_t *j)
{
	return json_dumps(
	    j, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
}

static bool
real_to_int(double r, int64_t *out)
{
	if (isnan(r) || r < -9.2e18 || r > 9.2e18)
		return false;
	*out = (int64_t)(r < 0 ? r - 0.5 : r + 0.5);
	return true;
}

bool
text_lenient_int(const char *s, int64_t *out)
{
	char *end;
	long long v;
	double r;

	while (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')
		s++;
	if (*s == '\0')
		return false;
	errno = 0;
	v = strtoll(s, &end, 0);
	if (end != s && errno == 0 && end[strspn(end, " \t\r\n")] == '\0') {
		*out = v;
		return true;
	}
	errno = 0;
	v = strtoll(s, &end, 10); /* "08" is no octal number but a decimal */
	if (end != s && errno == 0 && end[strspn(end, " \t\r\n")] == '\0') {
		*out = v;
		return true;
	}
	if (s[strspn(s, "+-0123456789.eE \t\r\n")] != '\0')
		return false;
	errno = 0;
	r = strtod(s, &end);
	if (end == s || errno != 0 || end[strspn(end, " \t\r\n")] != '\0')
		return false;
	return real_to_int(r, out);
}

bool
json_lenient_int(const json_t *j, int64_t *out)
{
	if (json_is_integer(j)) {
		*out = json_integer_value(j);
		return true;
	}
	if (json_is_real(j))
		return real_to_int(json_real_value(j), out);
	if (json_is_string(j))
		return text_lenient_int(json_string_value(j), out);
	return false;
}

const char *
json_text(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

bool
json_truthy(const json_t *j)
{
	if (j == NULL)
		return false;
	switch (json_typeof(j)) {
	case JSON_TRUE:
		return true;
	case JSON_STRING:
		return json_string_length(j) > 0;
	case JSON_INTEGER:
		return json_integer_value(j) != 0;
	case JSON_REAL:
		return fpclassify(json_real_value(j)) != FP_ZERO;
	case JSON_OBJECT:
		return json_object_size(j) > 0;
	case JSON_ARRAY:
		return json_array_size(j) > 0;
	case JSON_FALSE:
	case JSON_NULL:
		return false;
	}
	return false;
}
