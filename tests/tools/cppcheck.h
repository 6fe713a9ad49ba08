/*
 * cppcheck.h: for cppcheck alone, which does not read the system's headers:
 * what it has to know of sys/queue.h and jansson.h.
 */
/* clang-format off */
#define LIST_HEAD(name, type) struct { struct type *lh_first; }
#define TAILQ_HEAD(name, type) struct { struct type *tqh_first, **tqh_last; }
#define STAILQ_HEAD(name, type) struct { struct type *stqh_first, **stqh_last; }
#define LIST_FOREACH(v, h, f) for ((v) = (h)->lh_first; (v); (v) = (v)->f.le_next)
#define TAILQ_FOREACH(v, h, f) for ((v) = (h)->tqh_first; (v); (v) = (v)->f.tqe_next)
#define STAILQ_FOREACH(v, h, f) for ((v) = (h)->stqh_first; (v); (v) = (v)->f.stqe_next)
#define json_object_foreach(o, k, v) for ((k) = json_object_iter_key(json_object_iter(o)); (k) && ((v) = json_object_get(o, k)); (k) = json_object_iter_key((o)))
/* clang-format on */
