// A clock on the wall that is wrong by as many seconds as the file CLOCK_FILE says (int64); for LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t none = 0;
static const volatile int64_t *wrong_by = &none;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("CLOCK_FILE");
    int file = path ? open(path, O_RDONLY) : -1;
    if (file < 0) return;
    void *place = mmap(0, sizeof none, PROT_READ, MAP_SHARED, file, 0);
    if (place != MAP_FAILED) wrong_by = place;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += *wrong_by;
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    int result = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec;
    now->tv_usec = t.tv_nsec / 1000;
    return result;
}

time_t time(time_t *place) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (place) *place = t.tv_sec;
    return t.tv_sec;
}

// Who waits until a time asks the kernel, whose clock is right. A time of the monotonic clock is a small number.
static struct timespec right(const struct timespec *until) {
    struct timespec t = *until;
    if (t.tv_sec > 1000000000) t.tv_sec -= *wrong_by;
    return t;
}

int sem_timedwait(sem_t *restrict lock, const struct timespec *restrict until) {
    struct timespec t = right(until);
    return ((int (*)(sem_t *, const struct timespec *))dlsym(RTLD_NEXT, "sem_timedwait"))(lock, &t);
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict until) {
    typedef int (*wait_until)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    wait_until real = (wait_until)dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    if (!real) real = (wait_until)dlsym(RTLD_NEXT, "pthread_cond_timedwait");  // not x86
    struct timespec t = right(until);
    return real(condition, mutex, &t);
}
