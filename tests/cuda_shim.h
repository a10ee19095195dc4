// What CUDA source needs to run on a CPU: the threads of a block are fibers that take
// turns at __syncthreads, in ascending or, to show a missing one, descending order.
#include <cmath>
#include <csetjmp>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

#define __global__
#define __device__ static
#define __shared__ static

using std::acos;
using std::exp;
using std::sqrt;

struct dim3 {
    unsigned x, y, z;
};

static dim3 blockIdx, blockDim, threadIdx;

namespace fibers {

const size_t STACK = 64 * 1024;

// Contexts are entered once and then left and resumed by jumps, which unlike
// swapcontext need no system calls.
static ucontext_t start;
static jmp_buf scheduler;
static std::function<void()> kernel;

struct Fiber {
    ucontext_t context;
    jmp_buf resume;
    dim3 thread;
    bool entered, done;
};

static std::vector<Fiber> fibers;
static size_t current;

static void leave()
{
    if (!_setjmp(fibers[current].resume))
        _longjmp(scheduler, 1);
}

// A fiber takes its thread of one block after the other.
static void enter()
{
    for (;;) {
        kernel();
        fibers[current].done = true;
        leave();
    }
}

static void resume(Fiber &fiber)
{
    if (_setjmp(scheduler))
        return;
    if (fiber.entered)
        _longjmp(fiber.resume, 1);
    fiber.entered = true;
    swapcontext(&start, &fiber.context);
}

// Threads that do not wait for each other need no fibers.
template <class Body>
static void launch_alone(dim3 grid, dim3 block, bool descending, Body body)
{
    const unsigned n = block.x * block.y;
    blockDim = block;
    for (unsigned index = 0; index < grid.x; index++)
        for (unsigned turn = 0; turn < n; turn++) {
            const unsigned i = descending ? n - 1 - turn : turn;
            blockIdx = {index, 0, 0};
            threadIdx = {i % block.x, i / block.x, 0};
            body();
        }
}

static void launch(dim3 grid, dim3 block, bool descending, std::function<void()> body)
{
    const size_t n = (size_t)block.x * block.y;
    // Not cleared: most of a stack is never touched.
    const std::unique_ptr<char[]> stacks(new char[n * STACK]);
    kernel = body;
    blockDim = block;
    fibers.assign(n, Fiber());
    for (size_t i = 0; i < n; i++) {
        Fiber &fiber = fibers[i];
        fiber.thread = {(unsigned)(i % block.x), (unsigned)(i / block.x), 0};
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = &stacks[i * STACK];
        fiber.context.uc_stack.ss_size = STACK;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
    }
    for (unsigned index = 0; index < grid.x; index++) {
        blockIdx = {index, 0, 0};
        for (Fiber &fiber : fibers)
            fiber.done = false;
        for (size_t n_done = 0; n_done < n;) {
            n_done = 0;
            for (size_t turn = 0; turn < n; turn++) {
                current = descending ? n - 1 - turn : turn;
                if (!fibers[current].done) {
                    threadIdx = fibers[current].thread;
                    resume(fibers[current]);
                }
                n_done += fibers[current].done;
            }
        }
    }
}

} // namespace fibers

static inline void __syncthreads()
{
    fibers::leave();
}
