"""What scripts/bench is made of.

    host        processes with their CPU seconds and memory, loop devices, cold caches, clean-up
    sites       the contestants: one tree as seen by ext4, overlayfs, fuse-overlayfs and cairnfs
    rows        what a row is: what it measures, who takes part, whom it is compared with, the goal
    runner      rounds, contestants in turn, each sample's work checked against the others'
    results     medians, ratios, goals
    page, plot  docs/BENCHMARKS.md and its picture
    client.c    the loops that are timed
    fam_*       the rows themselves, one file for each family
"""
