/* SHA-256 (FIPS 180-4), for hashing one header a share. Not made for speed.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef C_POLL_SHA256_H
#define C_POLL_SHA256_H

#include <stddef.h>
#include <stdint.h>

/* Bitcoin's hash: SHA-256 of the SHA-256 of `length` bytes; 32 bytes into `out`, in the order in which they
 * lie in a header ("internal" order). At most 2^29 bytes. */
void sha256d(const uint8_t *bytes, size_t length, uint8_t out[32]);

#endif
