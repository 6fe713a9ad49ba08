/*
 * log.c: formats log lines and writes them to fd 2 without ever waiting.
 *
 * State is per process: a process has one log.
 */
#include "log.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "types.h"

#define LINE_SIZE 4096

static char process_name[WORD_SIZE] = "patroni";
static struct log_settings settings = { .level = LOG_LVL_INFO };
static uint64_t lines_lost;

static const char *
level_name(int level)
{
	if (level >= LOG_LVL_CRITICAL)
		return "CRITICAL";
	if (level >= LOG_LVL_ERROR)
		return "ERROR";
	if (level >= LOG_LVL_WARNING)
		return "WARNING";
	if (level >= LOG_LVL_INFO)
		return "INFO";
	return "DEBUG";
}

void
log_init(const char *process)
{
	text_set(process_name, sizeof(process_name), process);
}

void
log_configure(const struct log_settings *s)
{
	settings = *s;
	settings.format[sizeof(settings.format) - 1] = '\0';
	settings.dateformat[sizeof(settings.dateformat) - 1] = '\0';
	settings.fields[sizeof(settings.fields) - 1] = '\0';
	settings.statics[sizeof(settings.statics) - 1] = '\0';
}

bool
log_enabled(int level)
{
	return level >= settings.level;
}

/* A growing position in a fixed buffer; never writes past it. */
struct out {
	char *buf;
	size_t size, len;
};

static void
put(struct out *o, const char *text, size_t len)
{
	if (len > o->size - o->len)
		len = o->size - o->len;
	memcpy(o->buf + o->len, text, len);
	o->len += len;
}

static void
puts_out(struct out *o, const char *text)
{
	put(o, text, strlen(text));
}

static void
put_time(struct out *o)
{
	int64_t us = clock_wall_us();
	time_t sec = (time_t)(us / 1000000);
	struct tm tm;
	char buf[128];
	size_t len;

	localtime_r(&sec, &tm);
	if (settings.dateformat[0] != '\0') {
		len = strftime(buf, sizeof(buf), settings.dateformat, &tm);
		put(o, buf, len);
		return;
	}
	len = strftime(buf, sizeof(buf) - 8, "%Y-%m-%d %H:%M:%S", &tm);
	len +=
	    (size_t)snprintf(buf + len, 8, ",%03d", (int)(us % 1000000 / 1000));
	put(o, buf, len);
}

/* The message on one line: control characters become spaces. */
static void
put_message(struct out *o, const char *text)
{
	for (; *text != '\0' && o->len < o->size; text++) {
		unsigned char c = (unsigned char)*text;

		o->buf[o->len++] = c < 0x20 || c == 0x7f ? ' ' : (char)c;
	}
}

/* Nothing is cut in its middle, and the end of the object finds its place. */
static void
put_json_text(struct out *o, const char *text)
{
	puts_out(o, "\"");
	for (; *text != '\0' && o->len + sizeof("\\u0000\"}") <= o->size;
	     text++) {
		unsigned char c = (unsigned char)*text;
		char esc[8];

		if (c == '"' || c == '\\') {
			snprintf(esc, sizeof(esc), "\\%c", c);
			puts_out(o, esc);
		} else if (c < 0x20 || c == 0x7f) {
			snprintf(esc, sizeof(esc), "\\u%04x", c);
			puts_out(o, esc);
		} else
			put(o, text, 1);
	}
	puts_out(o, "\"");
}

/* A pattern of the operator's may hold anything. */
static void
put_json_time(struct out *o)
{
	char buf[160];
	struct out t = { .buf = buf, .size = sizeof(buf) - 1 };

	put_time(&t);
	buf[t.len] = '\0';
	put_json_text(o, buf);
}

/* A field of the reference's log records; what we do not have is null. */
static void
put_json_value(struct out *o, const char *name, size_t len, int level,
    const char *rule, const char *message)
{
	char num[16];

#define IS(text) (len == sizeof(text) - 1 && memcmp(name, text, len) == 0)
	if (IS("asctime"))
		put_json_time(o);
	else if (IS("levelname"))
		put_json_text(o, level_name(level));
	else if (IS("message"))
		put_json_text(o, message);
	else if (IS("name") || IS("processName"))
		put_json_text(o, process_name);
	else if (IS("process") || IS("levelno")) {
		snprintf(num, sizeof(num), "%d",
		    IS("process") ? (int)getpid() : level);
		puts_out(o, num);
	} else if (IS("rule") && rule != NULL)
		put_json_text(o, rule);
	else
		puts_out(o, "null");
#undef IS
}

/* The fields of the settings: the message, or all but that. */
static void
put_json_fields(struct out *o, bool is_message, int level, const char *rule,
    const char *message)
{
	const char *f = settings.fields, *end, *eq;
	char shown[sizeof(settings.fields)];
	size_t len;

	for (; (end = strchr(f, '\n')) != NULL; f = end + 1) {
		if ((eq = memchr(f, '=', (size_t)(end - f))) == NULL)
			continue;
		len = (size_t)(eq - f);
		if (is_message != (len == 7 && memcmp(f, "message", 7) == 0))
			continue;
		if (o->len > 1)
			puts_out(o, ", ");
		memcpy(shown, eq + 1, (size_t)(end - eq - 1));
		shown[end - eq - 1] = '\0';
		put_json_text(o, shown);
		puts_out(o, ": ");
		put_json_value(o, f, len, level, rule, message);
	}
}

/* The message comes last: it gets the room that the others leave. */
static void
put_json(struct out *o, int level, const char *rule, const char *message)
{
	puts_out(o, "{");
	if (settings.fields[0] == '\0') {
		puts_out(o, "\"asctime\": ");
		put_json_time(o);
		puts_out(o, ", \"levelname\": ");
		put_json_text(o, level_name(level));
		puts_out(o, ", \"process\": ");
		put_json_text(o, process_name);
		if (rule != NULL) {
			puts_out(o, ", \"rule\": ");
			put_json_text(o, rule);
		}
	} else
		put_json_fields(o, false, level, rule, message);
	if (settings.statics[0] != '\0') {
		if (o->len > 1)
			puts_out(o, ", ");
		puts_out(o, settings.statics);
	}
	if (settings.fields[0] == '\0') {
		puts_out(o, ", \"message\": ");
		put_json_text(o, message);
	} else
		put_json_fields(o, true, level, rule, message);
	puts_out(o, "}");
}

/* One field of `log.format`: %(name)s; returns the bytes it took. */
static size_t
put_field(struct out *o, const char *f, int level, const char *rule,
    const char *message)
{
	const char *end = strchr(f, ')');
	size_t len;

	if (f[1] == '%') {
		puts_out(o, "%");
		return 2;
	}
	if (f[1] != '(' || end == NULL || end[1] == '\0') {
		put(o, f, 1);
		return 1;
	}
	len = (size_t)(end - f) - 2;
#define IS(name) (len == sizeof(name) - 1 && memcmp(f + 2, name, len) == 0)
	if (IS("asctime"))
		put_time(o);
	else if (IS("levelname"))
		puts_out(o, level_name(level));
	else if (IS("message"))
		put_message(o, message);
	else if (IS("name") || IS("processName"))
		puts_out(o, process_name);
	else if (IS("process")) {
		char num[16];

		snprintf(num, sizeof(num), "%d", (int)getpid());
		puts_out(o, num);
	} else if (IS("rule"))
		puts_out(o, rule != NULL ? rule : "");
#undef IS
	/* skip the conversion behind the parenthesis, e.g. -8s */
	end++;
	while (*end != '\0' && strchr("-+ #0123456789.", *end) != NULL)
		end++;
	return (size_t)(end - f) + (*end != '\0');
}

static void
put_line(struct out *o, int level, const char *rule, const char *message)
{
	if (settings.json) {
		put_json(o, level, rule, message);
		return;
	}
	if (settings.format[0] == '\0') {
		put_time(o);
		puts_out(o, " ");
		puts_out(o, level_name(level));
		puts_out(o, ": ");
		put_message(o, message);
		return;
	}
	for (const char *f = settings.format; *f != '\0';) {
		if (*f == '%')
			f += put_field(o, f, level, rule, message);
		else {
			put(o, f, 1);
			f++;
		}
	}
}

static bool
write_line(char *line, size_t len)
{
	struct pollfd pfd = { .fd = STDERR_FILENO, .events = POLLOUT };

	line[len] = '\n';
	if (poll(&pfd, 1, 0) != 1 || !(pfd.revents & POLLOUT))
		return false;
	/* up to PIPE_BUF a pipe that is writable takes the whole line */
	return write(STDERR_FILENO, line, len + 1) == (ssize_t)(len + 1);
}

static void
emit(int level, const char *rule, const char *message)
{
	char line[LINE_SIZE];
	struct out o = { .buf = line, .size = sizeof(line) - 1 };

	put_line(&o, level, rule, message);
	if (!write_line(line, o.len))
		lines_lost++;
}

void
log_vline(int level, const char *rule, const char *fmt, va_list ap)
{
	char message[LINE_SIZE];

	if (!log_enabled(level))
		return;
	if (lines_lost > 0) {
		uint64_t lost = lines_lost;

		lines_lost = 0;
		snprintf(message, sizeof(message),
		    "%llu log lines were lost because the log could not be "
		    "written",
		    (unsigned long long)lost);
		emit(LOG_LVL_WARNING, NULL, message);
		if (lines_lost > 0)
			lines_lost += lost;
	}
	vsnprintf(message, sizeof(message), fmt, ap);
	emit(level, rule, message);
}

void
log_rule(int level, const char *rule, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(level, rule, fmt, ap);
	va_end(ap);
}

#define LOG_FUNCTION(name, level)                \
	void name(const char *fmt, ...)          \
	{                                        \
		va_list ap;                      \
                                                 \
		va_start(ap, fmt);               \
		log_vline(level, NULL, fmt, ap); \
		va_end(ap);                      \
	}

LOG_FUNCTION(log_debug, LOG_LVL_DEBUG)
LOG_FUNCTION(log_info, LOG_LVL_INFO)
LOG_FUNCTION(log_warn, LOG_LVL_WARNING)
LOG_FUNCTION(log_error, LOG_LVL_ERROR)
LOG_FUNCTION(log_critical, LOG_LVL_CRITICAL)

void
fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vline(LOG_LVL_CRITICAL, NULL, fmt, ap);
	va_end(ap);
	exit(1);
}
