/* For sources in assembly, which have no code: as the C compiler does, they say that all branches go to marked places. */
/* clang-format off */
#if defined(__x86_64__) && defined(__CET__)
        .section .note.gnu.property, "a"
        .balign 8
        .long 4, 16, 5
        .asciz "GNU"
        .long 0xc0000002, 4, __CET__, 0
#elif defined(__aarch64__) && defined(__ARM_FEATURE_BTI_DEFAULT)
        .section .note.gnu.property, "a"
        .balign 8
        .long 4, 16, 5
        .asciz "GNU"
        .long 0xc0000000, 4, 3, 0
#endif
/* clang-format on */
