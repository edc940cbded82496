/* See FreeRTOS.h. */
#include <string.h>

#include "queue.h"
#include "task.h"

enum { TASKS = 4, SAVED = 16 + 8 }; /* s16 to s31, r4 to r11 */

static StaticTask_t *tasks[TASKS];
static int known, current;
static StackType_t *scheduler_stack;

/* Saves the registers that a function must keep on the stack, puts that into *from, and goes on where `to` was saved.
 */
__attribute__((naked, noinline)) static void switch_stacks(StackType_t **from, StackType_t *to) {
  (void)from;
  (void)to;
  __asm__ volatile(
      "push {r4-r11, lr}\n"
      "vpush {s16-s31}\n"
      "str sp, [r0]\n"
      "mov sp, r1\n"
      "vpop {s16-s31}\n"
      "pop {r4-r11, pc}\n");
}

/* Where a task begins. */
static void begin(void) {
  tasks[current]->function(tasks[current]->parameter);
  vTaskDelete(NULL);
}

TaskHandle_t xTaskCreateStatic(TaskFunction_t function, const char *name, uint32_t depth, void *parameter,
                               UBaseType_t priority, StackType_t *stack, StaticTask_t *task) {
  (void)name;
  (void)priority;
  StackType_t *top = stack + depth / 2 * 2 - 2; /* 8 bytes aligned when all is off again */
  *--top = (StackType_t)(uintptr_t)begin;
  top -= SAVED;
  *task = (StaticTask_t){top, function, parameter};
  tasks[known++] = task;
  return task;
}

/* The next task's turn, or the end of all. */
static void go_on(StackType_t **from) {
  for (int i = 1; i <= known; i++) {
    const int next = (current + i) % known;
    if (tasks[next]->stack != NULL) {
      StackType_t *to = tasks[next]->stack;
      current = next;
      switch_stacks(from, to);
      return;
    }
  }
}

void taskYIELD(void) {
  for (int i = 1; i < known; i++) {
    if (tasks[(current + i) % known]->stack != NULL) {
      go_on(&tasks[current]->stack);
      return;
    }
  }
}

void vTaskStartScheduler(void) {
  current = known - 1;
  go_on(&scheduler_stack);
}

void vTaskEndScheduler(void) {
  StackType_t *unused;
  switch_stacks(&unused, scheduler_stack);
}

void vTaskDelete(TaskHandle_t task) {
  (void)task; /* the one that calls */
  StackType_t *unused;
  tasks[current]->stack = NULL;
  go_on(&unused);
}

QueueHandle_t xQueueCreateStatic(UBaseType_t length, UBaseType_t size, uint8_t *items, StaticQueue_t *queue) {
  *queue = (StaticQueue_t){.items = items, .length = length, .size = size};
  return queue;
}

BaseType_t xQueueSend(QueueHandle_t queue, const void *item, TickType_t ticks) {
  (void)ticks;
  while (queue->count == queue->length) taskYIELD();
  memcpy(queue->items + (queue->first + queue->count) % queue->length * queue->size, item, queue->size);
  queue->count++;
  return pdTRUE;
}

BaseType_t xQueueReceive(QueueHandle_t queue, void *item, TickType_t ticks) {
  (void)ticks;
  while (queue->count == 0) taskYIELD();
  memcpy(item, queue->items + queue->first * queue->size, queue->size);
  queue->first = (queue->first + 1) % queue->length;
  queue->count--;
  return pdTRUE;
}
