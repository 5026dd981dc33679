#if !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* fdopen, fileno */
#endif

#include "es_frame.h"

#include <stdarg.h>
#include <string.h>
#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#elif defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "frames are little-endian"
#endif

/* What changes line ends or takes bytes for text damages it, like the signature of PNG. */
static const unsigned char MAGIC[8] = {0x89, 'E', 'S', 'M', '\r', '\n', 0x1a, '\n'};

enum { HEADER_BYTES = 12, MESSAGE_BYTES = 512 };

int es_channel_open(es_channel *c, uint16_t service) {
    const uint16_t words[2] = {ES_PROTOCOL_VERSION, service};
    *c = (es_channel){stdin, stdout, 0, 0, 0};
    fflush(stdout);
#if defined(_WIN32)
    const int fd = _dup(1);
    if (fd < 0 || _dup2(2, 1)) return 0;
    _setmode(0, _O_BINARY);
    _setmode(fd, _O_BINARY);
    c->out = _fdopen(fd, "wb");
#elif defined(__unix__) || defined(__APPLE__)
    if (isatty(1)) {
        fprintf(stderr, "standard output is a terminal; this talks to another program\n");
        return 0;
    }
    const int fd = dup(1);
    if (fd < 0 || dup2(2, 1) < 0) return 0;
    c->out = fdopen(fd, "wb");
#endif
    if (!c->out) return 0;
    es_put(c, MAGIC, sizeof MAGIC);
    es_put(c, words, sizeof words);
    return es_send(c);
}

int es_channel_next(es_channel *c) {
    unsigned char header[HEADER_BYTES];
    const size_t got = fread(header, 1, sizeof header, c->in);
    if (got != sizeof header) return got ? ES_CUT_OFF : ES_NO_MORE;
    memcpy(&c->kind, header, 2);
    memcpy(&c->tag, header + 2, 2);
    memcpy(&c->left, header + 4, 8);
    return ES_REQUEST;
}

int es_take(es_channel *c, void *data, size_t bytes) {
    if (bytes > c->left || fread(data, 1, bytes, c->in) != bytes) return 0;
    c->left -= bytes;
    return 1;
}

static void put_header(es_channel *c, uint16_t kind, size_t bytes) {
    const uint64_t size = bytes;
    es_put(c, &kind, sizeof kind);
    es_put(c, &c->tag, sizeof c->tag);
    es_put(c, &size, sizeof size);
}

void es_answer(es_channel *c, size_t bytes) { put_header(c, c->kind, bytes); }

void es_put(es_channel *c, const void *data, size_t bytes) {
    if (bytes) (void)fwrite(data, 1, bytes, c->out);
}

int es_send(es_channel *c) { return !fflush(c->out) && !ferror(c->out); }

int es_refuse(es_channel *c, int status, const char *format, ...) {
    char message[MESSAGE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    const size_t bytes = length < 0 ? 0 : length < MESSAGE_BYTES ? (size_t)length : MESSAGE_BYTES - 1;
    fprintf(stderr, "%.*s\n", (int)bytes, message);
    put_header(c, ES_FRAME_ERROR, bytes);
    es_put(c, message, bytes);
    (void)es_send(c);
    return status;
}
