/* Stands in for libnvidia-ml.so.1. Power in mW and more come from the file named by NVML_STUB: "power scale throttle".
   Energy is power times scale, integrated over the monotonic clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static double seconds(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec + 1e-9 * t.tv_nsec; }
static double power = 50000, scale = 1, energy = 7e6, last = 0;
static unsigned long long throttle = 0;
static void look(void) {
  double now = seconds();
  if (last > 0) energy += power * scale * (now - last);
  last = now;
  FILE *f = fopen(getenv("NVML_STUB"), "r");
  if (f) { if (fscanf(f, "%lf %lf %llu", &power, &scale, &throttle) < 1) power = 50000; fclose(f); }
}
int nvmlInitWithFlags(unsigned f) { look(); return 0; }
int nvmlInit_v2(void) { look(); return 0; }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = 1; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **h) { *h = (void *)1; return i; }
int nvmlDeviceGetName(void *h, char *b, unsigned n) { strncpy(b, "NVIDIA Stand-in RTX", n); return 0; }
int nvmlDeviceGetPowerUsage(void *h, unsigned *p) { look(); *p = (unsigned)power; return 0; }
int nvmlDeviceGetClockInfo(void *h, int kind, unsigned *mhz) { *mhz = 1500; return 0; }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *h, unsigned long long *r) { look(); *r = throttle; return 0; }
#ifndef OLD
int nvmlDeviceGetTotalEnergyConsumption(void *h, unsigned long long *e) { look(); *e = (unsigned long long)energy; return 0; }
#endif
const char *nvmlErrorString(int r) { return "stand-in error"; }
