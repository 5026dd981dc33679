/* Programs that were compiled for several instruction sets: which variant of the model runs. */
#ifndef ES_VARIANT_H
#define ES_VARIANT_H

/* Runs a variant by its name, as --isa gives it; NULL: the best one. Gives an exit status, after saying why on standard
 * error. */
int es_variant_use(const char *name);

/* The variant in use; NULL in a program that was compiled for one instruction set. */
const char *es_variant_name(void);

#endif
