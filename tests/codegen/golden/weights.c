/* The weights, included by the assembler from weights.bin. */
#if defined(__APPLE__)
#error "this package embeds its weights with ELF assembler directives"
#endif

extern const unsigned char golden_weights[];

__asm__(".section .rodata\n"
        ".balign 64\n"
        ".hidden golden_weights\n"
        ".globl golden_weights\n"
        "golden_weights:\n"
        ".incbin \"weights.bin\"\n"
        ".balign 64\n"
        ".previous\n");
