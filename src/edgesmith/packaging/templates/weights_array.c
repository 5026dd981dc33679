/* Writes a file as the initialiser of an array, for compilers whose assembler does not know .incbin:
 *
 *     cc tools/weights_array.c -o weights_array
 *     ./weights_array weights.bin > weights.inc
 *     cc -DES_WEIGHTS_ARRAY ...
 */
#include <stdio.h>

int main(int argc, char **argv) {
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    int byte, column = 0;
    if (!file) {
        fprintf(stderr, "usage: %s weights.bin > weights.inc\n", argc > 0 ? argv[0] : "weights_array");
        return 2;
    }
    while ((byte = fgetc(file)) != EOF) printf(++column % 24 ? "%d," : "%d,\n", byte);
    if (ferror(file) || fflush(stdout) || ferror(stdout)) {
        perror(argv[1]);
        return 1;
    }
    fclose(file);
    return 0;
}
