/* As much of NVIDIA's management library as is read, for three cards: one that tells all, one that is not there, and
 * one that fell off the bus. */
#include <string.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, GPU_IS_LOST = 15 };

typedef struct card *device;
struct card { int lost; };
static struct card sound = {0}, lost = {1};
static int initialised;

int nvmlInit_v2(void) { initialised = 1; return OK; }
int nvmlShutdown(void) { initialised = 0; return OK; }
const char *nvmlErrorString(int code) { (void)code; return "an error"; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *place, device *found) {
    if (!initialised) return UNINITIALIZED;
    if (strcmp(place, "0000:01:00.0") == 0) *found = &sound;
    else if (strcmp(place, "0000:03:00.0") == 0) *found = &lost;
    else return NOT_FOUND;
    return OK;
}

#define FIGURE(name, wanted, figure)                           \
    int name(device card, int asked, unsigned *value) {        \
        if (card->lost) return GPU_IS_LOST;                    \
        if (asked != (wanted)) return INVALID;                 \
        *value = (figure);                                     \
        return OK;                                             \
    }
FIGURE(nvmlDeviceGetTemperature, 0, 83)
FIGURE(nvmlDeviceGetFanSpeed_v2, 0, 61)
FIGURE(nvmlDeviceGetClockInfo, 0, 2520)

int nvmlDeviceGetPowerUsage(device card, unsigned *milliwatts) {
    if (card->lost) return GPU_IS_LOST;
    *milliwatts = 431500;
    return OK;
}

int nvmlDeviceGetUtilizationRates(device card, unsigned rates[2]) {
    if (card->lost) return GPU_IS_LOST;
    rates[0] = 98;
    rates[1] = 3;
    return OK;
}

int nvmlDeviceGetFanSpeedRPM(device card, void *info) {
    (void)card;
    (void)info;
    return NOT_SUPPORTED;
}

/* Its clocks were set, it is at its power limit and it keeps itself cool. */
int nvmlDeviceGetCurrentClocksThrottleReasons(device card, unsigned long long *reasons) {
    if (card->lost) return GPU_IS_LOST;
    *reasons = 2 | 4 | 32;
    return OK;
}
