// The LSTMs of three gates: coupled (f, g, o), and without the forget gate (i, g, o).
#include "../layer.h"
#include "lstm_rows.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
using LstmThree = LstmRowCell<T, 3>;

GATEWISE_CELL(lstm_coupled, LstmThree)
GATEWISE_CELL(lstm_no_forget, LstmThree)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
