/* What the C tests have in common: a listener on a free port of the loopback address, and a peer's socket.
 * Whatever fails here ends the program with exit code 1 and the reason on standard error.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_TESTS_LISTENER_H
#define C_TESTS_LISTENER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gopool_sv2.h"

/* Ends the program unless `held`. */
#define CHECK(held, ...) \
  do { \
    if (!(held)) fail(__FILE__, __LINE__, __VA_ARGS__); \
  } while (0)
void fail(const char *file, int line, const char *format, ...);

/* Ends the program unless the call came to `wanted`. */
#define EXPECT(wanted, call) expect(__FILE__, __LINE__, #call, wanted, call)
void expect(const char *file, int line, const char *call, gsv2_result wanted, gsv2_result got);

/* Makes and starts a listener with two threads, with the authority.key in `folder`. */
gsv2_runtime listener_new(const char *folder);
gsv2_runtime listener_start(const char *folder);

/* Makes one of this configuration, in which names of files start in `folder`. */
gsv2_runtime listener_of(const char *folder, const char *toml);

/* Polls until an event of this kind, of which `last` is the first that came, or ends the program after a
 * minute or after GSV2_EVENT_FATAL. */
void listener_await(gsv2_runtime runtime, uint32_t kind, gsv2_event *last);

/* Stops in order and frees. */
void listener_stop(gsv2_runtime runtime);

/* The port that miners connect to. */
uint16_t listener_port(gsv2_runtime runtime);

/* A connection to a port on the loopback address. Reads on it end after a minute. */
int peer_connect(uint16_t port);

/* Sends the first message of a Noise handshake, and waits for a byte of the answer: any 64 bytes are a key
 * (BIP324's ElligatorSwift). Only a listener that serves can answer. */
void peer_expect_answer(uint16_t port);

#endif
