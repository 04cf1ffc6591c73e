package renewal_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

func TestRequestsOfOtherClusters(t *testing.T) {
	ended := renewal.Asked{Created: noon.Add(-time.Hour)}
	permit := func(p *renewal.Policy) { p.FleetServices = []certs.Service{certs.Kubelet, certs.Etcd} }
	kubelet := []certs.Service{certs.Kubelet}
	for name, tc := range map[string]struct {
		change   func(*renewal.Policy)
		services []certs.Service
		past     []renewal.Asked
		refused  string
	}{
		"by default none":           {func(*renewal.Policy) {}, kubelet, nil, "does not permit other clusters to ask for kubelet"},
		"a permitted service":       {permit, kubelet, []renewal.Asked{ended}, ""},
		"all permitted ones":        {permit, []certs.Service{certs.Etcd, certs.Kubelet}, nil, ""},
		"one of them not permitted": {permit, []certs.Service{certs.Kubelet, certs.Admin}, nil, "ask for admin"},
		"no service":                {permit, nil, nil, "names no service"},
		"one in progress":           {permit, kubelet, []renewal.Asked{{Created: noon.Add(-48 * time.Hour), Open: true}}, "has not ended"},
		"too many a day":            {permit, kubelet, []renewal.Asked{ended, ended, ended, ended, ended, ended}, "6"},
		"many in a week":            {permit, kubelet, []renewal.Asked{ended, ended, ended, ended, ended, {Created: noon.Add(-25 * time.Hour)}}, ""},
		"a freeze":                  {func(p *renewal.Policy) { permit(p); p.Freeze.On = true }, kubelet, nil, "f"},
		"a freeze that has ended":   {func(p *renewal.Policy) { permit(p); p.Freeze = renewal.Freeze{On: true, Until: noon} }, kubelet, nil, ""},
		"notify-only":               {func(p *renewal.Policy) { permit(p); *p = p.NotifyOnly() }, kubelet, nil, "notify-only"},
	} {
		t.Run(name, func(t *testing.T) {
			p := renewal.Default()
			tc.change(&p)
			got := p.RefuseAsked(noon, tc.services, tc.past)
			assert.Equal(t, tc.refused == "", got == "", got)
			assert.Contains(t, got, tc.refused)
		})
	}
}
