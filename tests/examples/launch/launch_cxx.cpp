// launch_cxx.cpp: the same from C++17: owners that free, an exception at start, none in the loop.
// usage: launch_cxx TRANSPOSE.json CACHE
#include "variants.h"

#include <array>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <vector>

namespace {

struct Free {
    void operator()(hone_kernel *kernel) const { hone_kernel_free(kernel); }
    void operator()(hone_device *device) const { hone_device_free(device); }
    void operator()(hone_cache *cache) const { hone_cache_close(cache); }
    void operator()(hone_site *site) const { hone_site_close(site); }
};
template <typename T> using Owned = std::unique_ptr<T, Free>;

// Calls open(&pointer, arguments..., &err) and owns the result.
template <typename T, typename Open, typename... Arguments> Owned<T> owned(Open open, Arguments... arguments) {
    T *made = nullptr;
    hone_error err;
    if (open(&made, arguments..., &err) != HONE_OK)
        throw std::runtime_error(err.message);
    return Owned<T>(made);
}

class Transpose {
public:
    Transpose(hone_cache *cache, const char *spec) {
        auto kernel = owned<hone_kernel>(hone_kernel_load, spec);
        auto device = owned<hone_device>(hone_device_open, "cpu");
        site_ = owned<hone_site>(hone_site_open, cache, kernel.get(), device.get(), nullptr);
        tile_ = hone_kernel_param_index(kernel.get(), "TILE");
    }

    // May be called by many threads at once.
    hone_match operator()(const float *x, float *y, int64_t rows, int64_t cols) const noexcept {
        hone_problem problem = {sizeof problem, 2, {rows, cols}};
        hone_match match;
        if (const hone_config *config = hone_site_lookup(site_.get(), &problem, &match))
            variant_of(config, tile_)(x, y, rows, cols);
        return match;
    }

private:
    Owned<hone_site> site_;
    uint32_t tile_ = 0;
};

} // namespace

int main(int argc, char **argv) {
    if (argc != 3) {
        std::fprintf(stderr, "usage: %s TRANSPOSE.json CACHE\n", argv[0]);
        return 2;
    }
    try {
        auto cache = owned<hone_cache>(hone_cache_open, argv[2], nullptr);
        const Transpose transpose(cache.get(), argv[1]); // closed before its cache
        std::vector<float> x(512 * 512), y(x.size());
        for (std::size_t i = 0; i < x.size(); i++)
            x[i] = static_cast<float>(i);
        const hone_match match = transpose(x.data(), y.data(), 512, 512);
        std::printf("%s, y[1][0] = %g\n", hone_match_name(match), static_cast<double>(y[512]));
        return 0;
    } catch (const std::exception &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return 1;
    }
}
