package monitoring

import (
	"net/url"
	"slices"
	"testing"

	"github.com/prometheus/alertmanager/alert"
	"github.com/prometheus/alertmanager/config"
	"github.com/prometheus/alertmanager/dispatch"
	"github.com/prometheus/alertmanager/template"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func alertmanager(t *testing.T) *config.Config {
	t.Helper()
	loaded, err := config.Load(string(read(t, "deploy/monitoring/alertmanager.yaml")))
	require.NoError(t, err)
	return loaded
}

// TestEveryAlertHasAReceiver: the team gets all of them, and the person on call those that
// are critical.
func TestEveryAlertHasAReceiver(t *testing.T) {
	tree := dispatch.NewRoute(alertmanager(t).Route, nil)
	receivers := func(labels model.LabelSet) (names []string) {
		for _, route := range tree.Match(labels) {
			names = append(names, route.RouteOpts.Receiver)
		}
		return names
	}
	for _, rule := range rules(t) {
		want := []string{"rotate-certs-team"}
		if rule.Labels["severity"] == "critical" {
			want = []string{"rotate-certs-on-call", "rotate-certs-team"}
		}
		assert.Equal(t, want, receivers(model.LabelSet{"alertname": model.LabelValue(rule.Alert), "severity": model.LabelValue(rule.Labels["severity"])}), rule.Alert)
	}
	assert.Equal(t, []string{"default"}, receivers(model.LabelSet{"alertname": "Watchdog", "severity": "critical"}), "alerts of others")
}

// TestNotificationsSayWhatToDo: the texts can be made of our alerts.
func TestNotificationsSayWhatToDo(t *testing.T) {
	texts, err := template.New()
	require.NoError(t, err)
	texts.ExternalURL = &url.URL{Scheme: "https", Host: "alertmanager.test"}
	for _, rule := range rules(t) {
		one := &alert.Alert{Alert: model.Alert{Labels: model.LabelSet{"alertname": model.LabelValue(rule.Alert)}, Annotations: model.LabelSet{}}}
		for name, text := range rule.Annotations {
			one.Annotations[model.LabelName(name)] = model.LabelValue(text)
		}
		data := texts.Data("team", one.Labels, nil, "", one)
		for _, receiver := range alertmanager(t).Receivers {
			for _, p := range receiver.PagerdutyConfigs {
				said, err := texts.ExecuteTextString(p.Description+" "+p.Links[0].Href, data)
				require.NoError(t, err)
				assert.Contains(t, said, rule.Annotations["summary"])
				assert.Contains(t, said, rule.Annotations["runbook_url"])
			}
			for _, s := range receiver.SlackConfigs {
				said, err := texts.ExecuteTextString(s.Title+" "+s.Text, data)
				require.NoError(t, err)
				assert.Contains(t, said, rule.Annotations["description"])
				assert.Contains(t, said, rule.Annotations["runbook_url"])
			}
		}
	}
}

// TestInhibitedAlertsExist: a name that nothing fires inhibits nothing.
func TestInhibitedAlertsExist(t *testing.T) {
	var alerts []string
	for _, rule := range rules(t) {
		alerts = append(alerts, rule.Alert)
	}
	for _, inhibit := range alertmanager(t).InhibitRules {
		for _, m := range slices.Concat(inhibit.SourceMatchers, inhibit.TargetMatchers) {
			require.Equal(t, "alertname", m.Name)
			assert.Contains(t, alerts, m.Value)
		}
	}
}
