/* On which processors the program and the threads that it starts run. */
#ifndef ES_AFFINITY_H
#define ES_AFFINITY_H

/* Restricts the calling thread, and threads started from it later, to the processors that `text` names: `big` (those of the
 * highest capacity), `little` (of the lowest), or a list such as 0-3,6. Gives 0, or an exit status after saying why not on
 * standard error. */
int es_affinity_set(const char *text);

#endif
