/* See FreeRTOS.h. */
#ifndef TASK_H
#define TASK_H

#include "FreeRTOS.h"

TaskHandle_t xTaskCreateStatic(TaskFunction_t function, const char *name, uint32_t depth, void *parameter,
                               UBaseType_t priority, StackType_t *stack, StaticTask_t *task);
void vTaskStartScheduler(void);
void vTaskEndScheduler(void);
void vTaskDelete(TaskHandle_t task);
void taskYIELD(void);

#endif /* TASK_H */
