/* worker_sandbox.c: what keeps a kernel's run in its box, and the worker's files out of other people's way: the private folder and its
 * janitor, cores, PID namespace, and a filter that refuses new processes. */
#define _GNU_SOURCE
#include "worker_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the private folder ---- */

static void remove_below(int parent, const char *name, int depth) {
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    if (dir == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return;
    }
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(fd, entry->d_name, 0) != 0 && depth > 0)
            remove_below(fd, entry->d_name, depth - 1);
    }
    (void)closedir(dir);
    (void)unlinkat(parent, name, AT_REMOVEDIR);
}

void hone__worker_dir_remove(const char *path) {
    remove_below(AT_FDCWD, path, 16);
}

/* A process that outlives the worker, however that ends, and removes its folder: it waits for the worker's end of a pipe to close. */
static void janitor_start(hone__worker *worker) {
    int ends[2];
    worker->janitor_fd = -1;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    pid_t pid = fork();
    if (pid == 0) {
        (void)setsid();
        if (fork() != 0)
            _exit(0);
        for (int fd = 0; fd < 3; fd++)
            (void)close(fd);
        char byte;
        (void)close(ends[1]);
        while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
        }
        hone__worker_dir_remove(worker->dir);
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
    (void)close(ends[0]);
    worker->janitor_fd = ends[1];
}

const char *hone__worker_temporary(void) {
    const char *base = getenv("TMPDIR");
    return base == NULL || base[0] != '/' || strlen(base) > 128 ? "/tmp" : base;
}

bool hone__worker_dir_make(hone__worker *worker) {
    (void)snprintf(worker->dir, sizeof worker->dir, "%s/hone-worker-XXXXXX", hone__worker_temporary());
    if (mkdtemp(worker->dir) == NULL) {
        worker->dir[0] = '\0';
        return false;
    }
    janitor_start(worker);
    /* The compiler's own temporary files go there too, so that a killed one leaves nothing behind. */
    (void)setenv("TMPDIR", worker->dir, 1);
    (void)setenv("LC_ALL", "C", 1); /* errors are found by the word "error:" */
    char run[300];
    (void)snprintf(run, sizeof run, "%s/run", worker->dir);
    return mkdir(run, 0700) == 0;
}

/* ---- cores ---- */

/* True if no other worker on this machine times on `core`; the lock is an abstract socket, which falls with its owner. */
static bool core_take(hone__worker *worker, int core) {
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int length = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "hone-timing-core-%d", core);
    if (bind(fd, (struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length)) == 0) {
        worker->core_lock_fd = fd;
        return true;
    }
    (void)close(fd);
    return false;
}

/* Cores that share a physical core with `core` are left idle when there are enough others. */
static void leave_siblings(cpu_set_t *others, int core) {
    char path[96];
    char text[64] = "";
    (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", core);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t got = read(fd, text, sizeof text - 1);
    (void)close(fd);
    text[got > 0 ? got : 0] = '\0';
    cpu_set_t kept = *others;
    for (char *c = text; *c >= '0' && *c <= '9';) {
        long first = strtol(c, &c, 10);
        long last = *c == '-' ? strtol(c + 1, &c, 10) : first;
        for (long i = first; i <= last && i < CPU_SETSIZE; i++)
            CPU_CLR((size_t)i, &kept);
        c += *c == ',';
    }
    if (CPU_COUNT(&kept) > 0)
        *others = kept;
}

void hone__worker_cores_choose(hone__worker *worker) {
    cpu_set_t all;
    worker->timing_core = -1;
    worker->core_lock_fd = -1;
    worker->parallel = 1;
    CPU_ZERO(&all);
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    int last = -1;
    for (int core = CPU_SETSIZE - 1; core >= 0; core--) {
        if (!CPU_ISSET((size_t)core, &all))
            continue;
        if (last < 0)
            last = core;
        if (core_take(worker, core)) {
            worker->timing_core = core;
            break;
        }
    }
    if (worker->timing_core < 0)
        worker->timing_core = last;
    cpu_set_t others = all;
    CPU_CLR((size_t)worker->timing_core, &others);
    if (CPU_COUNT(&others) == 0)
        return;
    leave_siblings(&others, worker->timing_core);
    int cores = CPU_COUNT(&others);
    worker->parallel = (uint32_t)(cores > (int)HONE_WORKER_JOBS_MAX ? (int)HONE_WORKER_JOBS_MAX : cores);
    (void)sched_setaffinity(0, sizeof others, &others);
}

/* ---- the box ---- */

pid_t hone__fork_contained(bool *own_namespace) {
    /* In a PID namespace everything that the kernel starts dies with its first process.  Root may have one; others through a user
     * namespace where the system permits that; else the process group has to do. */
    static const unsigned long ways[] = {CLONE_NEWPID, CLONE_NEWUSER | CLONE_NEWPID};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        long pid = syscall(SYS_clone, ways[i] | SIGCHLD, NULL, NULL, NULL, NULL);
        if (pid >= 0) {
            *own_namespace = true;
            return (pid_t)pid;
        }
    }
    *own_namespace = false;
    return fork();
}

#if defined(__x86_64__)
#define FILTER_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_ARCH AUDIT_ARCH_AARCH64
#endif

void hone__deny_processes(void) {
#ifdef FILTER_ARCH
#define REFUSE(number, code)                                                                                 \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (code))
#define OWN_ONLY(number, own)                                                                                \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 4),                                                     \
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),                             \
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (own), 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),      \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
    const uint32_t self = (uint32_t)getpid();
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, FILTER_ARCH, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        /* clone3's flags lie in memory, where a filter cannot look: without it the C library takes clone, whose flags are an argument. */
        REFUSE(SYS_clone3, ENOSYS),
#ifdef SYS_fork
        REFUSE(SYS_fork, EPERM),
        REFUSE(SYS_vfork, EPERM),
#endif
        REFUSE(SYS_setsid, EPERM),
        REFUSE(SYS_setpgid, EPERM),
        REFUSE(SYS_execve, EPERM),
        REFUSE(SYS_execveat, EPERM),
        REFUSE(SYS_ptrace, EPERM),
        REFUSE(SYS_process_vm_writev, EPERM),
        REFUSE(SYS_pidfd_open, EPERM),
        REFUSE(SYS_rt_sigqueueinfo, EPERM),
        REFUSE(SYS_rt_tgsigqueueinfo, EPERM),
        /* Without a namespace kill(-1, ...) would reach every process of this user: signals to itself only. */
        OWN_ONLY(SYS_kill, self),
        OWN_ONLY(SYS_tgkill, self),
        OWN_ONLY(SYS_tkill, self),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0), /* threads are fine */
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
#undef REFUSE
#undef OWN_ONLY
    struct sock_fprog filter = {.len = (unsigned short)(sizeof program / sizeof program[0]), .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
        (void)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter);
#endif
}
