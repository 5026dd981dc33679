/* Requests and answers as frames over standard input and output; docs/serving.md of Edgesmith is their specification.
 *
 * A service greets, then reads one request after the other and answers each. Every error ends it, after a frame that says why. */
#ifndef ES_FRAME_H
#define ES_FRAME_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define ES_PROTOCOL_VERSION 2

/* What is greeted with: which requests are understood. */
enum { ES_SERVICE_MODEL = 1, ES_SERVICE_TRIALS = 2 };

/* Kind of an answer that says why the service ends. */
enum { ES_FRAME_ERROR = 0xffff };

typedef struct {
    FILE *in, *out;
    uint16_t kind, tag; /* of the request */
    uint64_t left;      /* bytes of it that were not taken yet */
} es_channel;

/* Greets. What else the program prints goes to standard error from here on. Gives 0 when there is nobody to talk to. */
int es_channel_open(es_channel *c, uint16_t service);

enum { ES_REQUEST, ES_NO_MORE, ES_CUT_OFF };

/* Waits for a request: ES_NO_MORE when the input ended behind the last one, ES_CUT_OFF when it ended within one. */
int es_channel_next(es_channel *c);

/* Takes bytes of the request; gives 0 when it has fewer or the input ends. */
int es_take(es_channel *c, void *data, size_t bytes);

/* Begins the answer, with as many bytes as es_put will be given. */
void es_answer(es_channel *c, size_t bytes);
void es_put(es_channel *c, const void *data, size_t bytes);

/* Sends the answer; gives 0 when nobody listens any more. */
int es_send(es_channel *c);

/* Sends an error; gives `status`, so that a service can return with it. */
int es_refuse(es_channel *c, int status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

#endif
