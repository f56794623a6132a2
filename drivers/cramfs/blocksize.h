/* SPDX-License-Identifier: BSD-3-Clause */
/* Images whose blocks are not of 4096 bytes: no field of the format says so, only the data does. */
#ifndef MUSE_DRIVERS_CRAMFS_BLOCKSIZE_H
#define MUSE_DRIVERS_CRAMFS_BLOCKSIZE_H

#include "drivers/cramfs/cramfs_image.h"

/**
 * cramfs_check_block_size() - refuse an image that was made with another block size
 * @fs:  borrowed
 * @err: as in cramfs_open(); names the block size that it has
 *
 * Looks at the first file that has more than one block: when its first block cannot be read, but
 * can with blocks of another power of two, then that is what the image has. An image that is merely
 * damaged passes; the damage is named when it is read.
 *
 * Return: 0; -EOPNOTSUPP; -ENOMEM.
 */
MUST_CHECK int cramfs_check_block_size(struct cramfs *fs, struct cramfs_error *err);

#endif
