// What a cell is: the pointwise mathematics of one step, and how its gates lie in a tile.
//
// A panel is the columns of one tile: up to four vectors that the cell needs together. Those of a
// gated cell are its gates of the same N units; a cell without gates has four vectors of units side
// by side. A cell is a class template on the element type, made from the layer, with
//
//   vectors, units    columns of a panel, and how many vectors of hidden units they stand for
//   input, state      the columns that x and the previous h add to, and their gates in the weights; to
//                     those of a minimal cell h adds nothing, and its steps need no product
//   memory            what of the state before a step its pointwise part reads
//   cells             how many states it has beside h, if more than one
//   saves             whether backward needs the columns of forward
//   projects          whether weight_hr may follow it
//   forward           turns the columns into what backward needs, and returns the units of h
//   backward          turns those of one vector of units into gradients of the pre-activations
//
// A cell that gates h before some of its product has
//
//   again             the columns that a second product of a step adds to, that of the gated h
#pragma once
#include "simd.h"
#include "team.h"

namespace gatewise {
namespace GATEWISE_ISA {

// Columns first to first + count - 1 of a panel belong to gate[0], gate[1] … of a weight.
struct Part {
  int first, count;
  int gate[4];

  constexpr bool has(int column) const { return column >= first && column < first + count; }
};

enum class Memory { none, cell, hidden };

// What a cell without choices is made from.
struct AnyLayer {
  explicit AnyLayer(const Layer&) {}
};

template <typename C, typename = void>
constexpr Part again_of{0, 0, {}};
template <typename C>
constexpr Part again_of<C, std::void_t<decltype(C::again)>> = C::again;
template <typename C>
constexpr bool twice = again_of<C>.count > 0;

// How many states a cell has beside h: each H wide, they stand side by side in a row.
template <typename C, typename = void>
constexpr int cell_states = C::memory == Memory::cell ? 1 : 0;
template <typename C>
constexpr int cell_states<C, std::void_t<decltype(C::cells)>> = C::cells;

// Whether h takes part in the products, so that a step waits for all units of the step before.
template <typename C>
constexpr bool feeds_back = C::state.count > 0;

// The first unit that column i of a part stands for.
template <typename Cell, int N>
constexpr int64_t first_unit(int64_t panel, int column) {
  return (panel * Cell::units + (Cell::units > 1 ? column : 0)) * N;
}

// How many panels a layer has, and what follows from it.
template <typename T, typename Cell>
struct Panels {
  static constexpr int N = Simd<T>::lanes;
  int64_t count, padded;  // padded: the hidden units of all panels

  explicit Panels(int64_t hidden)
      : count(ceil_div(hidden, Cell::units * N)), padded(count * Cell::units * N) {}

  // Of the product that most columns take part in.
  int64_t columns() const { return count * std::max(Cell::state.count, Cell::input.count) * N; }
  // What forward saves for each step of a row: its columns, then the cell states, then what layer norms
  // want (norm.h).
  int64_t saved_columns() const { return Cell::saves ? count * Cell::vectors * N : 0; }
  int64_t cells() const { return cell_states<Cell> * padded; }  // a row of cell states
  int64_t saved_norms(bool normalised) const {
    return normalised ? count * (Cell::state.count + Cell::input.count) * N + 4 : 0;
  }
  int64_t saved_row(bool normalised) const {
    return saved_columns() + cells() + saved_norms(normalised);
  }
};

}  // namespace GATEWISE_ISA
}  // namespace gatewise
