/*
 * main.c: the simulator's command line, and one seed from begin to end.
 */
#include <getopt.h>
#include <stdlib.h>
#include <time.h>

#include "sim.h"

struct options {
	uint64_t seeds, start;
	double hours;
	bool replay, prove, verbose, no_faults;
	enum sim_break broken;
};

/* ---- one seed ---- */

static void
choose(struct world *w, const struct options *o)
{
	static const int ttls[] = { 30, 30, 20, 20, 45 };
	static const int waits[] = { 10, 10, 5, 3, 10 };
	static const int retries[] = { 10, 5, 5, 8, 15 };
	int64_t k = rnd_range(w, 0, 4);

	w->nnodes = (int)rnd_range(w, 3, MAX_NODES);
	w->ttl = ttls[k];
	w->loop_wait = waits[k];
	w->retry_timeout = retries[k];
	w->maximum_lag = chance(w, 50) ? 1048576 : 200000;
	w->rate = rnd_range(w, 1, 100) * 1000;
	w->check_timeline = chance(w, 50);
	w->use_rewind = chance(w, 80);
	w->failsafe = chance(w, 30);
	w->sync = chance(w, 50) ? (int)rnd_range(w, 1, 2) : 0;
	w->sync_strict = chance(w, 30);
	w->sync_count = (int)rnd_range(w, 1, 2);
	w->pg_version = chance(w, 80) ? 150004 : 120010;
	w->primary_start_timeout = chance(w, 70) ? 300 : 0;
	w->intensity = o->no_faults ? 0 : (int)rnd_range(w, 1, 12);
	w->end = (int64_t)(o->hours * 3600.0) * SEC;
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
	for (i = 0; i < w->nnodes; i++)
		node_init(w, i);
	if (chance(w, 15)) {
		struct node *n = &w->node[w->nnodes - 1];

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
	at(w, w->now, pg_tick, NULL, PROC_COUNT);
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
}

/* True when an invariant was violated; w keeps what happened. */
static bool
run_seed(struct world *w, const struct options *o, uint64_t seed, bool tracing)
{
	memset(w, 0, sizeof(*w));
	w->seed = w->rng = seed;
	w->now = 1000 * SEC;
	w->tracing = tracing;
	w->broken = o->broken;
	choose(w, o);
	w->end += w->now;
	trace(w, NULL,
	    "%d nodes, ttl %d, loop_wait %d, retry_timeout %d, "
	    "maximum_lag %lld, rate %lld/s, check_timeline %d, rewind %d, "
	    "sync %d%s/%d, failsafe %d, PostgreSQL %u, intensity %d",
	    w->nnodes, w->ttl, w->loop_wait, w->retry_timeout,
	    (long long)w->maximum_lag, (long long)w->rate, w->check_timeline,
	    w->use_rewind, w->sync, w->sync_strict ? " strict" : "",
	    w->sync_count, w->failsafe, w->pg_version, w->intensity);
	begin(w);
	while (!w->violated && w->now < w->end && w->nheap > 0) {
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

static int
run_seeds(const struct options *o, struct world *w)
{
	uint64_t i, violations = 0, promotions = 0, faults = 0, fences = 0;
	uint64_t cycles = 0;
	double hours = 0;

	for (i = 0; i < o->seeds; i++) {
		uint64_t seed = o->start + i;

		if (run_seed(w, o, seed, false)) {
			violations++;
			report(o, w, seed);
			if (violations == 1 && !o->verbose)
				(void)run_seed(w, o, seed, true);
			if (violations >= 20)
				break;
		}
		hours += (double)(w->now - 1000 * SEC) / 3600e9;
		promotions += w->promotions;
		faults += w->faults_begun;
		fences += w->fences;
		cycles += w->cycles;
	}
	printf("%llu faults, %llu promotions, %llu fences, %llu cycles\n",
	    (unsigned long long)faults, (unsigned long long)promotions,
	    (unsigned long long)fences, (unsigned long long)cycles);
	printf("%llu seeds, %.1f simulated hours, %llu violations\n",
	    (unsigned long long)o->seeds, hours,
	    (unsigned long long)violations);
	return violations > 0;
}

/* A catch is none when the rules as they are do not pass this seed either. */
static bool
run_broken(struct world *w, struct options *o, uint64_t seed, int rule)
{
	char what[sizeof(w->violation)];

	o->broken = (enum sim_break)rule;
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
usage(void)
{
	fprintf(stderr,
	    "usage: sim [--seeds N] [--start S] [--hours H] "
	    "[--replay SEED] [--break RULE] [--prove] [--no-faults] "
	    "[--quiet]\n");
	return 2;
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
		{ "quiet", no_argument, NULL, 'q' }, { NULL, 0, NULL, 0 } };
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
				return usage();
			break;
		case 'r':
			o.start = strtoull(optarg, NULL, 10);
			o.replay = true;
			break;
		case 'b':
			o.broken = rule_find(optarg);
			if (o.broken == BREAK_NONE)
				return usage();
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
		default:
			return usage();
		}
	if (o.replay)
		c = run_seed(w, &o, o.start, true);
	else
		c = o.prove ? prove(&o, w) : run_seeds(&o, w);
	free(w);
	return c;
}
