/* See zephyr/kernel.h. */
#include <stdarg.h>
#include <zephyr/kernel.h>

#include "console.h"

static struct k_thread *joined; /* whose end ends all: main waits for it */

static void begin(void *parameter) {
  struct k_thread *thread = parameter;
  thread->entry(thread->arguments[0], thread->arguments[1], thread->arguments[2]);
  if (thread == joined) vTaskEndScheduler();
  vTaskDelete(NULL);
}

k_tid_t k_thread_create(struct k_thread *thread, k_thread_stack_t *stack, size_t bytes, k_thread_entry_t entry, void *a,
                        void *b, void *c, int priority, uint32_t options, k_timeout_t delay) {
  (void)priority, (void)options, (void)delay;
  thread->entry = entry;
  thread->arguments[0] = a;
  thread->arguments[1] = b;
  thread->arguments[2] = c;
  xTaskCreateStatic(begin, "", (uint32_t)(bytes / sizeof(StackType_t)), thread, 1, stack, &thread->task);
  return thread;
}

int k_thread_join(struct k_thread *thread, k_timeout_t timeout) {
  (void)timeout;
  joined = thread;
  vTaskStartScheduler();
  return 0;
}

int k_msgq_put(struct k_msgq *queue, const void *item, k_timeout_t timeout) {
  return xQueueSend(&queue->queue, item, timeout.ticks) == pdTRUE ? 0 : -1;
}

int k_msgq_get(struct k_msgq *queue, void *item, k_timeout_t timeout) {
  return xQueueReceive(&queue->queue, item, timeout.ticks) == pdTRUE ? 0 : -1;
}

/* %u and %08x, and no others. */
void printk(const char *format, ...) {
  va_list values;
  va_start(values, format);
  for (; *format != '\0'; format++) {
    if (format[0] == '%' && format[1] == 'u') {
      print_number(va_arg(values, unsigned));
      format += 1;
    } else if (format[0] == '%') {
      print_hex(va_arg(values, unsigned));
      format += 3;
    } else {
      print_text((char[]){*format, '\0'});
    }
  }
  va_end(values);
}
