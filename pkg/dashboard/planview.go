package dashboard

import (
	"fmt"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// stepView is the part of a plan for one node.
type stepView struct {
	v1alpha1.PlanStep
	Role     string
	Restarts string
	Reasons  []string // why services are part of it, or have no certificate
}

// wavesOf groups steps by their wave, and lists the services that restart.
func wavesOf(steps []v1alpha1.PlanStep) (waves []waveView, restarts []string) {
	var services []certs.Service
	for _, step := range steps {
		if len(waves) == 0 || waves[len(waves)-1].Number != step.Wave {
			waves = append(waves, waveView{Number: step.Wave})
		}
		last := &waves[len(waves)-1]
		last.Steps = append(last.Steps, viewStep(step))
		services = append(services, step.Restarts...)
		for _, other := range step.OtherRestarts {
			if !slices.Contains(restarts, other) {
				restarts = append(restarts, other)
			}
		}
	}
	return waves, append(serviceWords(certs.SortServices(services)), restarts...)
}

func viewStep(step v1alpha1.PlanStep) stepView {
	view := stepView{PlanStep: step, Role: "worker"}
	if step.ControlPlane {
		view.Role = "control plane"
	}
	restarts := append(serviceWords(step.Restarts), step.OtherRestarts...)
	view.Restarts = strings.Join(restarts, ", ")
	if step.RestartUnit != "" {
		view.Restarts = "unit " + step.RestartUnit + " (" + view.Restarts + ")"
	}
	for _, service := range step.Services {
		if service.NoCertificate {
			view.Reasons = append(view.Reasons, fmt.Sprintf("%s has no certificate here: %s", service.Service, service.Reason))
		}
		if service.Because != "" {
			view.Reasons = append(view.Reasons, fmt.Sprintf("%s: %s", service.Service, service.Because))
		}
	}
	return view
}
