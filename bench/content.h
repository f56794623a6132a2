/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes of the benchmark's object: every contender serves the same ones, so that every reader
 * can tell a wrong page from a right one. Pure but for the allocation in content_new().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define CONTENT_PAGE_BYTES 4096u
#define CONTENT_PAGE_WORDS (CONTENT_PAGE_BYTES / 8u)

/**
 * content_mix() - scramble a number
 * @x: any value
 *
 * Source: the finalizer of splitmix64 (public domain, Sebastiano Vigna).
 * Return: a value that looks random; different for different @x.
 */
static inline uint64_t content_mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/**
 * content_word() - the 8 bytes that belong at one place of the object
 * @page:  page number in the object
 * @index: word in that page, 0..CONTENT_PAGE_WORDS-1
 *
 * Return: the word, in host byte order; no two places of an object share one.
 */
static inline uint64_t content_word(uint64_t page, unsigned index)
{
    return content_mix(page * CONTENT_PAGE_WORDS + index);
}

/**
 * content_new() - the whole object in memory, resident, in huge pages where the system grants them
 * @size_bytes:  a multiple of CONTENT_PAGE_BYTES
 * @ret_content: owned by the caller, who ends the process to free it
 *
 * Return: 0; -ENOMEM and other errors of mmap(2).
 */
int content_new(size_t size_bytes, uint64_t **ret_content);
