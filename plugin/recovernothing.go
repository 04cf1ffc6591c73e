package plugin

import (
	"context"
	"errors"
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/ssh"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// refuseUnknownExpiry returns an error if it is unknown whether certificates of the hosts have
// expired: no certificate was found on some of them or, unless clocks are to be ignored, a clock is
// wrong. By a clock that was reset nothing has expired.
func refuseUnknownExpiry(ctx context.Context, hosts *ssh.Hosts, ignoreClocks bool) error {
	nodes, missing, err := hosts.ScanAll(ctx)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("scan the hosts again: %s", missing[0])
	}
	if err := withoutCertificates(nodes); err != nil {
		return err
	}
	if found := gate.CheckClocks(nodes); len(found) > 0 && !ignoreClocks {
		return errors.New("it is not known whether certificates have expired, and nothing was changed: " + found[0].Text)
	}
	return nil
}

func withoutCertificates(nodes []inventory.Node) error {
	var names []string
	why := ""
	for _, n := range nodes {
		if len(n.Certificates) > 0 {
			continue
		}
		names = append(names, n.Name)
		for _, x := range n.NotInspected {
			why += fmt.Sprintf("\n  %s: %s", n.Name, x.Reason)
		}
	}
	if len(names) == 0 {
		return nil
	}
	err := errors.New("no certificate was found on " + printers.SomeNames(names) + ", so nothing is known of its expiry there; nothing was changed" + why)
	if why == "" {
		return hint.AddTo(err, "name control-plane nodes, workers and hosts of etcd only")
	}
	return err
}
