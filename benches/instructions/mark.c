// Tells the plugin (count.c) that something begins or ends; with an argument, executes what its count must come to.
#include <stddef.h>

static void mark(void) { __asm__ volatile("nopl 0x6b72616d(%rax,%rax,1)"); }

// 1 MiB copied by one `rep movsb`, which is one instruction, and a loop of 1 000 000 rounds of two.
static void known(void) {
    static char from[1 << 20], to[1 << 20];
    const char *source = from;
    char *target = to;
    size_t bytes = sizeof to, rounds = 1000000;
    __asm__ volatile("rep movsb" : "+S"(source), "+D"(target), "+c"(bytes) : : "memory");
    __asm__ volatile("1: dec %0\n jnz 1b" : "+r"(rounds) : : "cc");
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) known(); // so that its pages are there, and no fault interrupts it
    mark();
    if (argc > 1) {
        known();
        mark();
    }
    return 0;
}
