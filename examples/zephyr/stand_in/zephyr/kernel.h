/*
 * As much of Zephyr's interface as main.c uses, over the stand-in for FreeRTOS: threads take turns where they wait, and
 * nothing interrupts them. With Zephyr leave this folder out of the include path.
 */
#ifndef ZEPHYR_KERNEL_H
#define ZEPHYR_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#include "queue.h"
#include "task.h"

typedef struct {
  uint32_t ticks;
} k_timeout_t;
#define K_FOREVER ((k_timeout_t){portMAX_DELAY})
#define K_NO_WAIT ((k_timeout_t){0})

typedef StackType_t k_thread_stack_t;
typedef void (*k_thread_entry_t)(void *, void *, void *);
struct k_thread {
  StaticTask_t task;
  k_thread_entry_t entry;
  void *arguments[3];
};
typedef struct k_thread *k_tid_t;
#define K_THREAD_STACK_DEFINE(name, bytes) static k_thread_stack_t name[(bytes) / sizeof(StackType_t)]
#define K_THREAD_STACK_SIZEOF(name) sizeof(name)

struct k_msgq {
  StaticQueue_t queue;
};
#define K_MSGQ_DEFINE(name, bytes, count, alignment)                          \
  static _Alignas(alignment) uint8_t name##_items[(size_t)(count) * (bytes)]; \
  static struct k_msgq name = {{.items = name##_items, .length = (count), .size = (bytes)}}

k_tid_t k_thread_create(struct k_thread *thread, k_thread_stack_t *stack, size_t bytes, k_thread_entry_t entry, void *a,
                        void *b, void *c, int priority, uint32_t options, k_timeout_t delay);
int k_thread_join(struct k_thread *thread, k_timeout_t timeout);
int k_msgq_put(struct k_msgq *queue, const void *item, k_timeout_t timeout);
int k_msgq_get(struct k_msgq *queue, void *item, k_timeout_t timeout);
void printk(const char *format, ...);

#endif /* ZEPHYR_KERNEL_H */
