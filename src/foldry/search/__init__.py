"""Sequences → alignments: engines that search databases for homologues."""
