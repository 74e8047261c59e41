// A QEMU plugin (of API version 1, QEMU 7.2) that counts the instructions each task executes on each vCPU, user and kernel apart.
//
// It prints a line for each vCPU whenever the guest executes the mark (see mark.c): the number of the mark, the vCPU, and what
// was executed since the mark before: in user code, in the kernel by tasks with user code, in the kernel by all others (the
// idle task and kernel threads). An interrupt counts for the task it interrupts, as with perf-stat(1) of a process.
//
// A block counts whole as it begins. One that a fault leaves early counts too much by what is left of it.
// A string instruction with a prefix of repetition counts once, as in hardware, where QEMU executes it once for each item.

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// The part of qemu-plugin.h that is used: Debian packages the interface without its header.
enum { NO_REGISTERS = 0, READ_OR_WRITE = 3 };
struct qemu_info {
    const char *target;
    int version_min, version_current;
    bool is_system;
    int vcpus, vcpus_max;
};
struct qemu_plugin_tb;
struct qemu_plugin_insn;
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t index);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t plugin, void (*)(uint64_t plugin, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned vcpu, void *), int flags, void *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned vcpu, void *), int flags, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, void (*)(unsigned vcpu, uint32_t info, uint64_t address, void *),
                                      int flags, int access, void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { VCPUS = 8, TASKS = 4096 };

enum mode { USER, KERNEL };

struct task {
    uint64_t key; // where its task_struct keeps the stack pointer: unlike any other's
    uint64_t executed[2];
    uint64_t told[2]; // of `executed`, at the mark before
};

struct vcpu {
    struct task *current;
    uint64_t repeated; // address of the string instruction that ended the block before, or 0
    struct task tasks[TASKS];
} __attribute__((aligned(64)));

static struct vcpu vcpus[VCPUS];
static unsigned vcpus_used;
static unsigned marks;

// What a block's callback must know fits into its pointer, so that nothing is allocated and nothing leaks.
struct block {
    bool kernel : 1;
    bool alone : 1;           // it is one string instruction, and may be the next round of the one before
    uint64_t instructions : 14;
    uint64_t repeated : 48;   // address of the string instruction with a prefix of repetition at its end, or 0
};

static bool is_prefix(uint8_t code) { // of repetition, of a size, REX
    return code == 0xf2 || code == 0xf3 || code == 0x66 || code == 0x67 || (code & 0xf0) == 0x40;
}

static bool is_string_operation(uint8_t code) { // movs, cmps; stos, lods, scas; ins, outs
    return (code >= 0xa4 && code <= 0xa7) || (code >= 0xaa && code <= 0xaf) || (code >= 0x6c && code <= 0x6f);
}

static bool is_repeated(const struct qemu_plugin_insn *instruction) {
    const uint8_t *code = qemu_plugin_insn_data(instruction);
    size_t size = qemu_plugin_insn_size(instruction), at = 0;
    bool repeats = false;
    for (; at < size && is_prefix(code[at]); at++) repeats |= code[at] == 0xf2 || code[at] == 0xf3;
    return repeats && at + 1 == size && is_string_operation(code[at]);
}

static void execute(unsigned index, void *data) {
    struct block block;
    memcpy(&block, &data, sizeof block);
    struct vcpu *vcpu = &vcpus[index];
    bool again = block.alone && block.repeated == vcpu->repeated;
    vcpu->repeated = block.repeated;
    if (again) return;
    uint64_t *executed = &vcpu->current->executed[block.kernel ? KERNEL : USER];
    __atomic_store_n(executed, *executed + block.instructions, __ATOMIC_RELAXED); // only this vCPU writes it
}

// The last entry is shared by all that come when the table is full.
static struct task *find(struct vcpu *vcpu, uint64_t key) {
    for (size_t i = 1; i < TASKS; i++) {
        struct task *task = &vcpu->tasks[(key / 64 + i) % (TASKS - 1)];
        if (task->key == key) return task;
        if (task->key != 0) continue;
        __atomic_store_n(&task->key, key, __ATOMIC_RELAXED);
        return task;
    }
    return &vcpu->tasks[TASKS - 1];
}

// READ_OR_WRITE, though it only reads: QEMU 7.2 takes one for the other.
static void switch_task(unsigned index, uint32_t info, uint64_t address, void *data) {
    (void)info, (void)data;
    vcpus[index].current = find(&vcpus[index], address);
}

static uint64_t since_told(struct task *task, enum mode mode) {
    uint64_t executed = __atomic_load_n(&task->executed[mode], __ATOMIC_RELAXED), since = executed - task->told[mode];
    task->told[mode] = executed;
    return since;
}

static void mark(unsigned index, void *data) {
    (void)index, (void)data;
    for (unsigned i = 0; i < vcpus_used; i++) {
        uint64_t user = 0, kernel = 0, others = 0;
        for (size_t j = 0; j < TASKS; j++) {
            uint64_t in_user = since_told(&vcpus[i].tasks[j], USER), in_kernel = since_told(&vcpus[i].tasks[j], KERNEL);
            user += in_user;
            *(in_user != 0 ? &kernel : &others) += in_kernel;
        }
        fprintf(stderr, "mark %u vcpu %u user %" PRIu64 " kernel %" PRIu64 " others %" PRIu64 "\n", marks, i, user, kernel, others);
    }
    marks++;
}

// `mov DISTANCE(%rsi), %rsp`: __switch_to_asm takes the stack of the next task, and nothing else in the kernel reads like that.
static bool is_switch(const struct qemu_plugin_insn *instruction) {
    return qemu_plugin_insn_size(instruction) == 7 && memcmp(qemu_plugin_insn_data(instruction), "\x48\x8b\xa6", 3) == 0;
}

// The instruction of mark.c: `nopl 0x6b72616d(%rax,%rax,1)`.
static bool is_mark(const struct qemu_plugin_insn *instruction) {
    return qemu_plugin_insn_size(instruction) == 8 && memcmp(qemu_plugin_insn_data(instruction), "\x0f\x1f\x84\x00mark", 8) == 0;
}

static void translate(uint64_t plugin, struct qemu_plugin_tb *tb) {
    (void)plugin;
    size_t count = qemu_plugin_tb_n_insns(tb);
    bool kernel = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)) >> 63;
    struct qemu_plugin_insn *last = qemu_plugin_tb_get_insn(tb, count - 1);
    bool repeated = is_repeated(last);
    struct block block = {kernel, repeated && count == 1, count, repeated ? qemu_plugin_insn_vaddr(last) & 0xffffffffffff : 0};
    void *data;
    _Static_assert(sizeof block == sizeof data, "a block's description fits into a pointer");
    memcpy(&data, &block, sizeof data);
    qemu_plugin_register_vcpu_tb_exec_cb(tb, execute, NO_REGISTERS, data);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(tb, i);
        if (kernel && is_switch(instruction))
            qemu_plugin_register_vcpu_mem_cb(instruction, switch_task, NO_REGISTERS, READ_OR_WRITE, NULL);
        if (!kernel && is_mark(instruction)) qemu_plugin_register_vcpu_insn_exec_cb(instruction, mark, NO_REGISTERS, NULL);
    }
}

EXPORT int qemu_plugin_install(uint64_t plugin, const struct qemu_info *info, int argc, char **argv) {
    (void)argc, (void)argv;
    if (info->vcpus > VCPUS) return 1;
    vcpus_used = info->vcpus;
    for (unsigned i = 0; i < VCPUS; i++) vcpus[i].current = &vcpus[i].tasks[TASKS - 1]; // until the first switch
    qemu_plugin_register_vcpu_tb_trans_cb(plugin, translate);
    return 0;
}
