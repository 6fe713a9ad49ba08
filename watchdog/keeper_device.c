/*
 * keeper_device.c: activation, keepalive and disabling of the watchdog device
 * (spec/ha.md 20.3, 20.4).
 *
 * Differences from upstream, on purpose (design 5): one ping per grant and
 * only when the grant is fresh; the master opens the device.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../ipc/clock.h"
#include "../ipc/log.h"
#include "keeper.h"

#define OPEN_TIMEOUT (1500 * NS_PER_MS) /* under the controller's 2 s */
#define DEFAULT_DEVICE "/dev/watchdog"

/* ---- names and numbers ---- */

int
device_wanted_timeout(const struct keeper *k)
{
	return k->conf.safety_margin < 0 ? k->ttl / 2 :
					   k->ttl - k->conf.safety_margin;
}

static int
slack(const struct keeper *k)
{
	return device_wanted_timeout(k) - k->loop_wait;
}

struct name {
	char text[TEXT_SIZE];
};

static struct name
device_name(const struct keeper *k)
{
	struct name n;
	size_t len;

	if (k->fd == -1 || k->caps.identity[0] == '\0') {
		(void)snprintf(n.text, sizeof(n.text), "Linux watchdog device");
		return n;
	}
	(void)snprintf(n.text, sizeof(n.text), "%s", k->caps.identity);
	if (k->caps.firmware != 0) {
		len = strlen(n.text);
		(void)snprintf(n.text + len, sizeof(n.text) - len,
		    " (firmware %u)", k->caps.firmware);
	}
	if (strcmp(k->conf.device, DEFAULT_DEVICE) != 0) {
		len = strlen(n.text);
		(void)snprintf(n.text + len, sizeof(n.text) - len, " at %.300s",
		    k->conf.device);
	}
	return n;
}

static bool
required(const struct keeper *k)
{
	return k->conf.mode == WATCHDOG_REQUIRED;
}

/* ---- opening and closing ---- */

static void
forget(struct keeper *k)
{
	if (k->fd != -1)
		k->ops->close_fd(k->arg, k->fd);
	k->fd = -1;
	k->timeout = 0;
	memset(&k->caps, 0, sizeof(k->caps));
}

/* A new implementation from the configuration. */
void
device_reset(struct keeper *k)
{
	forget(k);
	k->device_failed = false;
	k->driver =
	    k->conf.driver == DRIVER_TESTING ? &device_testing : &device_linux;
	k->device =
	    k->conf.mode == WATCHDOG_OFF || k->conf.driver == DRIVER_NONE ?
	    DEVICE_NONE :
	    DEVICE_CLOSED;
	k->text[0] = '\0';
}

static void
disable(struct keeper *k)
{
	if (!k->caps.disable) {
		if (k->driver->ping(k->fd) == -1)
			log_error("Error while disabling watchdog: %s",
			    strerror(errno));
		log_warn(
		    "Watchdog implementation can't be disabled. System "
		    "will reboot after %d seconds when watchdog times out.",
		    k->timeout);
	} else if (k->driver->disable(k->fd) == -1)
		log_error(
		    "Error while disabling watchdog: %s", strerror(errno));
	forget(k);
	k->device = DEVICE_CLOSED;
}

void
device_disarm(struct keeper *k)
{
	if (k->device == DEVICE_OPENING)
		k->device = DEVICE_CLOSED; /* it is disabled when it comes */
	else if (k->device == DEVICE_RUNNING)
		disable(k);
	if (k->next_pending) {
		k->conf = k->next_conf;
		k->next_pending = false;
		device_reset(k);
	}
}

void
device_abandon(struct keeper *k)
{
	forget(k);
	if (k->device >= DEVICE_OPENING)
		k->device = DEVICE_CLOSED;
}

/* ---- activation ---- */

/* The implementation becomes "none": no further attempts. */
static void
give_up(struct keeper *k)
{
	forget(k);
	k->device = DEVICE_NONE;
}

static void __attribute__((format(printf, 2, 3)))
could_not(struct keeper *k, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (required(k))
		log_warn("Could not activate %s: %s", device_name(k).text, why);
	else
		log_debug(
		    "Could not activate %s: %s", device_name(k).text, why);
	(void)snprintf(k->text, sizeof(k->text), "could not activate: %s", why);
}

/* Step 2 after the open: the timeout.  False: the device is of no use. */
static bool
set_up(struct keeper *k, int want)
{
	if (k->driver->support(k->fd, &k->caps) == -1) {
		could_not(k, "%s", strerror(errno));
		return false;
	}
	if (k->caps.set_timeout && (want < 1 || want > 65534)) {
		could_not(k,
		    "Invalid timeout %d. Supported values are between "
		    "1 and 65535",
		    want);
		return false;
	}
	if ((k->caps.set_timeout &&
		k->driver->set_timeout(k->fd, want) == -1) ||
	    k->driver->get_timeout(k->fd, &k->timeout) == -1) {
		could_not(k, "%s", strerror(errno));
		return false;
	}
	k->want = want;
	if (k->timeout >= k->loop_wait)
		return true;
	log_error("loop_wait of %d seconds is too long for watchdog %d second "
		  "timeout",
	    k->loop_wait, k->timeout);
	if (!k->caps.disable)
		return true; /* it runs, and cannot be stopped */
	log_info("Disabling watchdog due to unsafe timeout.");
	(void)k->driver->disable(k->fd);
	return false;
}

/* Steps 4 and 5. */
static void
judge(struct keeper *k)
{
	int want = device_wanted_timeout(k);
	bool running = k->device == DEVICE_RUNNING;

	if (running && !k->caps.disable)
		log_warn("Watchdog implementation can't be disabled. Watchdog "
			 "will trigger after Patroni loses leader key.");
	if (!running && required(k)) {
		log_error("Configuration requires watchdog, but watchdog could "
			  "not be configured.");
		k->device_failed = true;
		return;
	}
	if (running && k->timeout > want && required(k)) {
		log_error(
		    "Configuration requires watchdog, but a safe watchdog"
		    " timeout %d could not be configured. Watchdog timeout is "
		    "%d.",
		    want, k->timeout);
		k->device_failed = true;
		return;
	}
	if (!running)
		return;
	if (k->timeout > want)
		log_warn("Watchdog timeout %d seconds does not ensure safe "
			 "termination within %d seconds",
		    k->timeout, want);
	(void)snprintf(k->text, sizeof(k->text), "%s", device_name(k).text);
	log_info("%s activated with %d second timeout, timing slack %d seconds",
	    k->text, k->timeout, slack(k));
}

void
device_opened(struct keeper *k, int fd, int error)
{
	if (k->device != DEVICE_OPENING) {
		if (fd == -1)
			return;
		/* Nobody waits for it any more, but opening has armed it. */
		(void)k->driver->disable(fd);
		k->ops->close_fd(k->arg, fd);
		return;
	}
	k->fd = fd;
	if (fd == -1) {
		could_not(k, "Can't open watchdog device: %s", strerror(error));
		give_up(k);
	} else if (set_up(k, device_wanted_timeout(k)))
		k->device = DEVICE_RUNNING;
	else
		give_up(k);
	judge(k);
}

bool
device_activate(struct keeper *k, int64_t deadline, int64_t now)
{
	k->device_failed = false;
	if (k->device == DEVICE_OPENING)
		return true; /* another ARM waits for the same */
	if (k->device == DEVICE_RUNNING || k->conf.mode == WATCHDOG_OFF)
		return false;
	if (k->device == DEVICE_CLOSED && slack(k) < 0) {
		log_warn("Watchdog not supported because leader TTL %d is less "
			 "than 2x loop_wait %d",
		    k->ttl, k->loop_wait);
		judge(k);
		return false;
	}
	if (k->device == DEVICE_NONE) {
		judge(k);
		return false;
	}
	k->device = DEVICE_OPENING;
	k->open_deadline = now + OPEN_TIMEOUT;
	if (deadline > 0 && deadline - 100 * NS_PER_MS < k->open_deadline)
		k->open_deadline = deadline - 100 * NS_PER_MS;
	k->ops->open_device(k->arg, k->conf.device);
	return k->device == DEVICE_OPENING;
}

/* The master did not answer: that says nothing about the device. */
void
device_expired(struct keeper *k, int64_t now)
{
	(void)now;
	could_not(k, "no answer from the master");
	k->device = DEVICE_CLOSED;
	judge(k);
}

/* ---- keepalive ---- */

/* A configuration that was waiting for this moment (20.4). */
static void
adopt(struct keeper *k, int64_t now)
{
	bool other = k->next_conf.driver != k->conf.driver ||
	    strcmp(k->next_conf.device, k->conf.device) != 0;

	k->next_pending = false;
	if (!other) {
		k->conf = k->next_conf;
		return;
	}
	disable(k);
	k->conf = k->next_conf;
	device_reset(k);
	(void)device_activate(k, now + OPEN_TIMEOUT, now);
}

static void
update_timeout(struct keeper *k, int want)
{
	k->want = want;
	if (!k->caps.set_timeout)
		return;
	if (want < 1 || want > 65534 ||
	    k->driver->set_timeout(k->fd, want) == -1 ||
	    k->driver->get_timeout(k->fd, &k->timeout) == -1) {
		log_error("Error while sending keepalive: could not set the "
			  "timeout to %d",
		    want);
		return;
	}
	log_info("%s updated with %d second timeout, timing slack %d seconds",
	    device_name(k).text, k->timeout, slack(k));
}

void
device_granted(struct keeper *k, int64_t sent, int64_t now)
{
	int64_t margin;

	if (k->device != DEVICE_RUNNING)
		return;
	if (k->next_pending)
		adopt(k, now);
	if (k->device != DEVICE_RUNNING)
		return;
	if (device_wanted_timeout(k) != k->want)
		update_timeout(k, device_wanted_timeout(k));
	/* A late grant must not stretch the timeout beyond the lease. */
	margin = k->conf.safety_margin < 0 ? k->ttl / 2 : k->conf.safety_margin;
	if (now - sent > margin * NS_PER_SEC) {
		log_warn("watchdog: lease came %lld ms late, no keepalive",
		    (long long)((now - sent) / NS_PER_MS));
		return;
	}
	if (k->driver->ping(k->fd) == -1)
		log_error("Error while sending keepalive: Could not send "
			  "watchdog keepalive: %s",
		    strerror(errno));
}

bool
device_healthy(const struct keeper *k)
{
	if (!required(k))
		return true;
	if (slack(k) < 0 || k->device == DEVICE_NONE)
		return false;
	return k->device == DEVICE_RUNNING ||
	    k->ops->device_exists(k->arg, k->conf.device);
}
