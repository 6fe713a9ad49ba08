/*
 * main.c: the simulator's command line, and one seed from begin to end.
 */
#include <getopt.h>
#include <stdlib.h>
#include <time.h>

#include "sim.h"

struct options {
	uint64_t seeds, start, progress;
	double hours;
	bool replay, prove, verbose, no_faults;
	enum sim_break broken, focus;
	struct coverage *coverage;
};

/* ---- one seed ---- */

static void
on_device_found(struct world *w, struct ev *e)
{
	e->n->device_bad = e->n->device.given_up = false;
	e->n->device_mended = w->now;
	keeper_tell(e->n);
}

/* Here and there the module of the device is loaded late. */
static void
miss_devices(struct world *w)
{
	int i;

	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];

		if (w->watchdog != WATCHDOG_REQUIRED || !chance(w, 20))
			continue;
		n->device_bad = true;
		at(w, w->now + rnd_range(w, 10, 60) * SEC, on_device_found, n,
		    PROC_COUNT);
	}
}

static void
on_foreign(struct world *w, struct ev *e)
{
	(void)w;
	e->n->odd = false;
	if (!e->n->machine_up)
		node_power_on(e->n);
}

static void
begin(struct world *w)
{
	int i;

	store_init(w);
	remote_init(w);
	w->last_writer = w->former = w->former_before = w->given = w->named =
	    w->ambushed = -1;
	/* some are born as standby clusters */
	if (w->standby_seed && chance(w, 30)) {
		w->standby = true;
		w->standby_since = w->now;
	}
	for (i = 0; i < w->nnodes; i++)
		node_init(w, i);
	if (!w->standby && chance(w, 15)) {
		struct node *n = &w->node[w->nnodes - 1];

		/* the only one with data has to be able to lead */
		n->tags.nofailover = n->tags.nostream = 0;
		n->tags.failover_priority = 1;

		n->odd = chance(w, 70);
		pg_new_cluster(n);
		n->pg.wal.end += (uint64_t)rnd_range(w, 0, 1000) * 1000000;
	}
	for (i = 0; i < w->nnodes; i++) {
		struct node *n = &w->node[i];

		/* data from elsewhere come to a cluster that exists */
		if (n->odd)
			at(w, w->now + 60 * SEC, on_foreign, n, PROC_COUNT);
		else
			node_power_on(n);
	}
	miss_devices(w);
	beat(w, w->now, pg_tick);
	faults_init(w);
}

static void
finish(struct world *w)
{
	int i;

	while (w->asks != NULL)
		ask_close(w, w->asks);
	while (w->spare_asks != NULL) {
		struct ask *a = w->spare_asks;

		w->spare_asks = a->next;
		free(a);
	}
	for (i = 0; i < w->nnodes; i++)
		node_free(&w->node[i]);
	store_free(w);
	free(w->heap);
	free(w->slots);
	free(w->spare);
	free(w->line);
}

/* True when an invariant was violated; w keeps what happened. */
static bool
run_seed(struct world *w, const struct options *o, uint64_t seed, bool tracing)
{
	memset(w, 0, sizeof(*w));
	w->seed = w->rng = seed;
	w->now = 1000 * SEC;
	w->limit = NO_LIMIT;
	w->tracing = tracing;
	w->broken = o->broken;
	w->coverage = o->coverage;
	choose_options(w);
	choose_focus(w, o->focus);
	if (o->no_faults)
		w->intensity = 0;
	w->end = w->now + (int64_t)(o->hours * 3600.0) * SEC;
	trace(w, NULL,
	    "%d nodes, ttl %d, loop_wait %d, retry_timeout %d, "
	    "maximum_lag %lld, rate %lld/s, check_timeline %d, rewind %d, "
	    "sync %d%s/%d, failsafe %d, PostgreSQL %u, intensity %d",
	    w->nnodes, w->ttl, w->loop_wait, w->retry_timeout,
	    (long long)w->maximum_lag, (long long)w->rate, w->check_timeline,
	    w->use_rewind, w->sync, w->sync_strict ? " strict" : "",
	    w->sync_count, w->failsafe, w->pg_version, w->intensity);
	begin(w);
	while (!w->violated && w->now < w->end) {
		engine_step(w);
		check_step(w);
	}
	finish(w);
	return w->violated;
}

static void
report(const struct options *o, struct world *w, uint64_t seed)
{
	printf("seed %llu: %s\n", (unsigned long long)seed, w->violation);
	printf("replay: build/sim --hours %g --replay %llu\n", o->hours,
	    (unsigned long long)seed);
}

/* ---- modes ---- */

static void
total(uint64_t seeds, double hours, uint64_t violations)
{
	printf("%llu seeds, %.1f simulated hours, %llu violations\n",
	    (unsigned long long)seeds, hours, (unsigned long long)violations);
	(void)fflush(stdout);
}

static int
run_seeds(const struct options *o, struct world *w)
{
	uint64_t i, violations = 0, promotions = 0, faults = 0, fences = 0;
	uint64_t cycles = 0;
	double hours = 0, node_hours = 0, lived;

	for (i = 0; i < o->seeds; i++) {
		uint64_t seed = o->start + i;

		if (run_seed(w, o, seed, false)) {
			violations++;
			report(o, w, seed);
			if (violations == 1 && !o->verbose)
				(void)run_seed(w, o, seed, true);
			if (violations >= 20 && o->progress == 0)
				break;
		}
		lived = (double)(w->now - 1000 * SEC) / 3600e9;
		hours += lived;
		node_hours += lived * w->nnodes;
		promotions += w->promotions;
		faults += w->faults_begun;
		fences += w->fences;
		cycles += w->cycles;
		if (o->progress != 0 && (i + 1) % o->progress == 0) {
			printf("so far: ");
			total(i + 1, hours, violations);
		}
	}
	if (o->coverage != NULL)
		(void)coverage_report(o->coverage);
	printf("%llu faults, %llu promotions, %llu fences, %llu cycles, "
	       "%.0f node-hours\n",
	    (unsigned long long)faults, (unsigned long long)promotions,
	    (unsigned long long)fences, (unsigned long long)cycles, node_hours);
	total(i, hours, violations);
	return violations > 0;
}

/* A catch is none when the rules as they are do not pass this seed either. */
static bool
run_broken(struct world *w, struct options *o, uint64_t seed, int rule)
{
	char what[sizeof(w->violation)];

	o->broken = o->focus = (enum sim_break)rule;
	if (!run_seed(w, o, seed, false))
		return false;
	memcpy(what, w->violation, sizeof(what));
	o->broken = BREAK_NONE;
	if (run_seed(w, o, seed, false))
		return false;
	memcpy(w->violation, what, sizeof(what));
	return true;
}

static int
prove(struct options *o, struct world *w)
{
	int rule, caught = 0;

	for (rule = 1; rule <= rule_count(); rule++) {
		uint64_t i;
		bool found = false;

		for (i = 0; i < o->seeds && !found; i++)
			found = run_broken(w, o, o->start + i, rule);
		if (found)
			printf("%-28s caught by seed %llu: %s\n",
			    rule_name(rule),
			    (unsigned long long)(o->start + i - 1),
			    w->violation);
		else
			printf("%-28s NOT CAUGHT in %llu seeds\n",
			    rule_name(rule), (unsigned long long)o->seeds);
		fflush(stdout);
		caught += found;
	}
	printf("%d rules, %d caught\n", rule_count(), caught);
	return caught != rule_count();
}

static int
usage(FILE *to)
{
	fprintf(to,
	    "usage: sim [--seeds N] [--start S] [--hours H] [--progress N]\n"
	    "           [--coverage] [--no-faults] [--quiet] [--focus RULE]\n"
	    "           [--replay SEED] [--break RULE] [--prove]\n"
	    "\n"
	    "Each seed is a cluster of 3 to 5 nodes that lives for H hours "
	    "(default 3).\n"
	    "The last line says how many seeds, how many hours all clusters "
	    "lived together\n"
	    "(cluster-hours, not node-hours) and how many broke an "
	    "invariant.\n"
	    "--coverage counts the faults injected and the rules taken.\n"
	    "--break and --prove need sim-break; --focus chooses options as "
	    "they do.\n");
	return to == stderr ? 2 : 0;
}

int
main(int argc, char **argv)
{
	static const struct option longs[] = { { "seeds", required_argument,
						   NULL, 'n' },
		{ "start", required_argument, NULL, 's' },
		{ "hours", required_argument, NULL, 'h' },
		{ "replay", required_argument, NULL, 'r' },
		{ "break", required_argument, NULL, 'b' },
		{ "prove", no_argument, NULL, 'p' },
		{ "no-faults", no_argument, NULL, 'f' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "coverage", no_argument, NULL, 'c' },
		{ "progress", required_argument, NULL, 'P' },
		{ "focus", required_argument, NULL, 'F' },
		{ "help", no_argument, NULL, 'H' }, { NULL, 0, NULL, 0 } };
	struct options o = { .seeds = 200, .start = 1, .hours = 3 };
	struct world *w = malloc(sizeof(*w));
	int c;

	if (w == NULL)
		return 1;
	rules_note();
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1)
		switch (c) {
		case 'n':
			o.seeds = strtoull(optarg, NULL, 10);
			break;
		case 's':
			o.start = strtoull(optarg, NULL, 10);
			break;
		case 'h':
			o.hours = strtod(optarg, NULL);
			if (!(o.hours > 0 && o.hours <= 10000))
				return usage(stderr);
			break;
		case 'r':
			o.start = strtoull(optarg, NULL, 10);
			o.replay = true;
			break;
		case 'b':
			o.broken = o.focus = rule_find(optarg);
			if (o.broken == BREAK_NONE)
				return usage(stderr);
			break;
		case 'p':
			o.prove = true;
			break;
		case 'f':
			o.no_faults = true;
			break;
		case 'q':
			o.verbose = true;
			break;
		case 'c':
			o.coverage = coverage_new();
			break;
		case 'P':
			o.progress = strtoull(optarg, NULL, 10);
			break;
		case 'F':
			o.focus = rule_find(optarg);
			if (o.focus == BREAK_NONE)
				return usage(stderr);
			break;
		case 'H':
			return usage(stdout);
		default:
			return usage(stderr);
		}
	if (o.replay)
		c = run_seed(w, &o, o.start, true);
	else
		c = o.prove ? prove(&o, w) : run_seeds(&o, w);
	free(o.coverage);
	free(w);
	return c;
}
