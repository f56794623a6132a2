/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine's counters with units, for `musectl stats`: every field of engine_stats, in order. */
#ifndef MUSE_SERVER_FLOW_STATS_LIST_H
#define MUSE_SERVER_FLOW_STATS_LIST_H

/* field, unit, help */
#define ENGINE_STATS(X)                                                                            \
    X(faults, "messages", "page faults that userfaultfd reported")                                 \
    X(faults_joined, "messages", "of these: joined pages that were being got already")             \
    X(faults_hit, "messages", "of these: the page was valid and only had to be shown")             \
    X(faults_miss, "messages", "of these: the page had to be got")                                 \
    X(faults_repeated, "messages", "of these: the same thread was waiting for the page already")   \
    X(faults_poisoned, "messages", "of these: answered by SIGBUS")                                 \
    X(faults_outside, "messages", "of these: no mapping stood there any more")                     \
    X(runs_extents, "runs", "page runs read by the server from extents")                           \
    X(runs_fill, "runs", "page runs asked of a driver's fault hook")                               \
    X(runs_zero, "runs", "page runs that were holes: zeros")                                       \
    X(run_pages, "pages", "pages in all these runs, each in its object's page size")               \
    X(readahead_pages, "pages", "of these: nobody waited for them")                                \
    X(bytes_filled, "bytes", "bytes that became valid in page caches")                             \
    X(maps, "requests", "mmap calls that succeeded")                                               \
    X(unmaps, "requests", "munmap calls that succeeded")                                           \
    X(map_failures, "requests", "mmap calls that failed after their arguments were accepted")      \
    X(merges, "mappings", "new mappings that became part of a neighbour")                          \
    X(prepares, "calls", "mmap_prepare asked")                                                     \
    X(completes, "calls", "mmap_complete asked")                                                   \
    X(aborts, "calls", "mmap_abort sent")                                                          \
    X(closes, "calls", "vm close sent")                                                            \
    X(opens, "calls", "vm open sent")                                                              \
    X(sessions_refused, "connections", "clients refused: limits, versions, malformed hello")       \
    X(protocol_errors, "connections", "clients cut off for what they sent")                        \
    X(driver_errors, "connections", "drivers cut off for what they sent")                          \
    X(pages_invalidated, "pages", "valid pages that a driver revoked")                             \
    X(graduations, "mappings", "mappings switched to native faulting")                             \
    X(faults_write, "messages", "first writes to clean pages of shared mappings")                  \
    X(mkwrites, "calls", "page_mkwrite asked")                                                     \
    X(runs_writeback, "runs", "clusters of dirty pages given to drivers")                          \
    X(pages_written, "pages", "pages that drivers wrote back")                                     \
    X(pages_stored_late, "pages", "pages stored into after their writeback, without a fault")      \
    X(writeback_errors, "runs", "clusters that drivers could not write back")                      \
    X(pages_evicted, "pages", "clean pages that went to make room, or by advice or command")       \
    X(evict_passes, "searches", "how often pages were looked for that may go")                     \
    X(ghost_hits, "runs", "runs that came back soon after they went: kept longer from then on")    \
    X(refaults, "runs", "runs that came back after they went, as far as is remembered")

#endif
