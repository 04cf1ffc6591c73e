// Package browser drives the dashboard in Chromium, on clusters of the lab: "make browser". It is a
// module of its own, since only its tests need what drives Chromium.
package browser

import (
	"fmt"
	"os"
	"testing"
)

// here are the clusters that all tests share, set by TestMain.
var here *labs

func TestMain(m *testing.M) {
	if server := os.Getenv(relayTo); server != "" {
		if err := runRelay(server, os.Getenv(relayListen)); err != nil {
			fmt.Fprintln(os.Stderr, "error: relay to another lab:", err)
			os.Exit(1)
		}
		return
	}
	opened, err := openLabs()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: these tests run in a lab, see \"make browser\":", err)
		os.Exit(1)
	}
	here = opened
	os.Exit(m.Run())
}
