// The LSTM of four gates with any of its options.
#include "../layer.h"
#include "lstm_rows.h"

namespace gatewise {
namespace GATEWISE_ISA {

template <typename T>
using LstmOptions = LstmRowCell<T, 4>;

GATEWISE_CELL(lstm_options, LstmOptions)

}  // namespace GATEWISE_ISA
}  // namespace gatewise
