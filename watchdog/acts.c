/*
 * acts.c: the helpers' test acts in the keeper, which links none of the
 * helpers' library (test builds only).
 */
#ifdef TEST_ACTS
#include "../helpers/test_acts.c"
#endif
