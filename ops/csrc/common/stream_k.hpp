// Tiles of keys on one line, cut evenly among workers ("Lean Attention", 2024); the same numbers on host and device.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

// The tiles of every group = sequence * heads + head, group after group. A shorter sequence has fewer.
struct TileLine {
    const int64_t* starts;  // (sequences + 1,) tiles of one head of all sequences before each
    int64_t sequences, heads;

    PERCEPTION_HD int64_t groups() const { return sequences * heads; }
    PERCEPTION_HD int64_t total() const { return starts[sequences] * heads; }
    PERCEPTION_HD int64_t tiles(int64_t group) const {
        return starts[group / heads + 1] - starts[group / heads];
    }
    PERCEPTION_HD int64_t begin(int64_t group) const {
        return starts[group / heads] * heads + group % heads * tiles(group);
    }
    // The group of a tile in [0, total()).
    PERCEPTION_HD int64_t group_of(int64_t tile) const {
        int64_t low = 0, high = sequences;  // the last sequence that does not begin behind the tile lies in [low, high)
        while (high - low > 1) {
            const int64_t middle = (low + high) / 2;
            if (starts[middle] * heads <= tile) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return low * heads + (tile - starts[low] * heads) / (starts[low + 1] - starts[low]);
    }
};

// Runs of the line: the first `high` workers have `most` tiles each, the others one less.
struct TileShares {
    int64_t workers, most, high;

    PERCEPTION_HD TileShares(int64_t total, int64_t asked)
        : workers(asked < total ? asked : total), most(workers == 0 ? 0 : (total + workers - 1) / workers),
          high(total - (most - 1) * workers) {}

    PERCEPTION_HD int64_t begin(int64_t worker) const {
        return worker * most - (worker > high ? worker - high : 0);
    }
    PERCEPTION_HD int64_t worker_of(int64_t tile) const {
        return tile < high * most ? tile / most : high + (tile - high * most) / (most - 1);
    }
};

// Tiles [first, end) of a group that one worker reads in one go. Along the line, worker or group grows with every
// segment and neither shrinks, so that worker + group numbers them.
struct TileSegment {
    int64_t group, first, end;
};

// The segments of one worker, in order.
struct SegmentWalk {
    int64_t place, end;

    PERCEPTION_HD SegmentWalk(const TileShares& shares, int64_t worker)
        : place(shares.begin(worker)), end(shares.begin(worker + 1)) {}

    PERCEPTION_HD bool has_next() const { return place < end; }
    PERCEPTION_HD TileSegment next(const TileLine& line) {
        const int64_t group = line.group_of(place), begin = line.begin(group);
        const int64_t border = begin + line.tiles(group), stop = border < end ? border : end;
        const TileSegment segment{group, place - begin, stop - begin};
        place = stop;
        return segment;
    }
};

}  // namespace perception
