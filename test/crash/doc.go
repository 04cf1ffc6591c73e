// Package crash holds tests that interrupt the node program at every point and check the state
// of the node. A fixed sample of the points is tried by default, all of them with
// CRASH_POINTS=all: see "make soak".
package crash
