"""GetPreferredAllocation: the devices of a pool that fit together best, by the pool's policy.

place.py: the topology of the pool. question.py: the request, in order, and the candidates that the
NUMA rule leaves. topology.py, packed.py, spread.py: the best choice by each policy; fewest.py: the
search that two of them share; grouped.py: whole IOMMU groups. budget.py: the limit of the search;
simple.py: the choice beyond that limit. choose.py combines them.
"""
