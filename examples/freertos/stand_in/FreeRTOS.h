/*
 * As much of FreeRTOS' interface as main.c uses, for a Cortex-M with an FPU and QEMU, where FreeRTOS is not at hand:
 * tasks take turns where they wait, and nothing interrupts them. With FreeRTOS leave this folder out of the include
 * path.
 */
#ifndef FREERTOS_H
#define FREERTOS_H

#include <stddef.h>
#include <stdint.h>

typedef uint32_t StackType_t, TickType_t, UBaseType_t;
typedef int32_t BaseType_t;
typedef void (*TaskFunction_t)(void *);

typedef struct {
  StackType_t *stack; /* where its registers are saved, or null: it has ended */
  TaskFunction_t function;
  void *parameter;
} StaticTask_t;

typedef struct {
  uint8_t *items;
  UBaseType_t length, size, count, first;
} StaticQueue_t;

typedef StaticTask_t *TaskHandle_t;
typedef StaticQueue_t *QueueHandle_t;

#define portMAX_DELAY 0xffffffffu
#define pdTRUE 1

#endif /* FREERTOS_H */
