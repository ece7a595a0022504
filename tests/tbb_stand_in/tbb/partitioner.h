// Stand-in: partitioners are accepted and change nothing.
#pragma once

namespace tbb {

class simple_partitioner {};
class auto_partitioner {};
class static_partitioner {};
class affinity_partitioner {};

}  // namespace tbb
