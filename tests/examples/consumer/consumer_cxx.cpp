// consumer_cxx.cpp: the same program as C++: hone.h must work for both.
#include "consumer.c"
