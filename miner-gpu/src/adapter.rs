//! The GPUs of this machine, one entry for each.

use std::fmt;

use wgpu::{Adapter, AdapterInfo, Backend, Backends, DeviceType, DownlevelFlags, Instance, Limits};

/// A GPU that a driver offers.
#[derive(Clone, Debug)]
pub struct Gpu {
    pub(crate) adapter: Adapter,
    /// What is known of it.
    pub facts: GpuFacts,
}

/// What a driver says of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuFacts {
    /// Its device key: `gpu:<PCI id>`, or `gpu:<index>` where the driver tells no PCI id.
    pub key: String,
    /// Its name.
    pub name: String,
    /// Where it sits, like `0000:01:00.0`.
    pub pci: Option<String>,
    /// PCI vendor id.
    pub vendor: u32,
    /// PCI device id.
    pub device: u32,
    /// The interface that it is reached by: Vulkan, Metal or DX12.
    pub api: &'static str,
    /// The driver's name.
    pub driver: String,
    /// The driver's version, in its own words.
    pub driver_info: String,
    /// Whether a CPU only plays it.
    pub is_software: bool,
    /// Why it cannot be mined with, if so.
    pub unusable: Option<Unusable>,
}

/// Why a GPU cannot be mined with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Its driver has no compute shaders.
    #[error("its driver cannot run compute shaders")]
    NoCompute,
    /// Its limits are below what a kernel needs.
    #[error("its limits are too small for the kernel")]
    SmallLimits,
}

impl fmt::Display for GpuFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, self.api)?;
        let words = [&self.driver, &self.driver_info].map(|word| word.trim());
        words.into_iter().filter(|word| !word.is_empty()).try_for_each(|word| write!(f, " {word}"))
    }
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Gpus {
    /// The GPUs, in the drivers' order; their places are the numbers that a person chooses them by.
    pub list: Vec<Gpu>,
    /// Where there is none: what was missing.
    pub nothing: Option<String>,
}

/// The interfaces that are asked, the preferred one first.
const APIS: [(Backend, &str); 3] =
    [(Backend::Vulkan, "Vulkan"), (Backend::Metal, "Metal"), (Backend::Dx12, "DX12")];

impl Gpus {
    /// Asks every driver; takes some 100 ms.
    pub fn find() -> Self {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
        // No validation layers: they are for writing kernels, not for running them.
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = Instance::new(descriptor);
        let mut adapters: Vec<(AdapterInfo, Adapter)> =
            pollster::block_on(instance.enumerate_adapters(Backends::all()))
                .into_iter()
                .map(|adapter| (adapter.get_info(), adapter))
                .collect();
        adapters.sort_by_key(|(info, _)| APIS.iter().position(|(api, _)| *api == info.backend));
        let infos: Vec<&AdapterInfo> = adapters.iter().map(|(info, _)| info).collect();
        let list: Vec<Gpu> = one_each(&infos)
            .into_iter()
            .enumerate()
            .map(|(index, at)| {
                let (info, adapter) = &adapters[at];
                Gpu {
                    facts: GpuFacts { unusable: unusable(adapter), ..facts(index, info) },
                    adapter: adapter.clone(),
                }
            })
            .collect();
        let nothing = list.is_empty().then(|| {
            match pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())) {
                Ok(_) => "no driver offers a GPU".to_owned(),
                Err(error) => missing(&error.to_string()),
            }
        });
        Self { list, nothing }
    }
}

/// What of wgpu's complaint concerns interfaces that this build has and asked for.
fn missing(complaint: &str) -> String {
    let (_, reasons) = complaint.split_once("; ").unwrap_or(("", complaint));
    let idle = ["not requested", "not compiled in"];
    let reasons: Vec<&str> =
        reasons.split(", ").filter(|reason| !idle.iter().any(|idle| reason.ends_with(idle))).collect();
    if reasons.is_empty() { complaint.to_owned() } else { reasons.join(", ") }
}

fn facts(index: usize, info: &AdapterInfo) -> GpuFacts {
    let pci = Some(info.device_pci_bus_id.trim().to_owned()).filter(|id| !id.is_empty());
    let api = APIS.iter().find(|(api, _)| *api == info.backend);
    GpuFacts {
        key: pci.as_ref().map_or_else(|| format!("gpu:{index}"), |pci| format!("gpu:{pci}")),
        name: info.name.trim().to_owned(),
        pci,
        vendor: info.vendor,
        device: info.device,
        api: api.map_or("another interface", |(_, name)| name),
        driver: info.driver.clone(),
        driver_info: info.driver_info.clone(),
        is_software: info.device_type == DeviceType::Cpu,
        unusable: None,
    }
}

fn unusable(adapter: &Adapter) -> Option<Unusable> {
    if !adapter.get_downlevel_capabilities().flags.contains(DownlevelFlags::COMPUTE_SHADERS) {
        Some(Unusable::NoCompute)
    } else if !Limits::downlevel_defaults().check_limits(&adapter.limits()) {
        Some(Unusable::SmallLimits)
    } else {
        None
    }
}

/// Which entries are GPUs of their own: the same one shows once for each interface, and for each of its drivers.
fn one_each(infos: &[&AdapterInfo]) -> Vec<usize> {
    let kind = |info: &AdapterInfo| (info.vendor, info.device);
    let mut kept: Vec<usize> = Vec::new();
    for (at, info) in infos.iter().enumerate() {
        let known = kept.iter().filter(|&&other| {
            let other = infos[other];
            if info.device_pci_bus_id.is_empty() || other.device_pci_bus_id.is_empty() {
                other.backend != info.backend && kind(other) == kind(info)
            } else {
                other.device_pci_bus_id == info.device_pci_bus_id
            }
        });
        // The second of two equal cards is the second one by every interface.
        let same_before = infos[..at]
            .iter()
            .filter(|other| {
                info.device_pci_bus_id.is_empty()
                    && other.backend == info.backend
                    && kind(other) == kind(info)
            })
            .count();
        if known.count() <= same_before {
            kept.push(at);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(backend: Backend, device: u32, pci: &str) -> AdapterInfo {
        let mut info = AdapterInfo::new(DeviceType::DiscreteGpu, backend);
        (info.vendor, info.device, info.device_pci_bus_id) = (0x1002, device, pci.to_owned());
        info
    }

    #[test]
    fn a_gpu_is_listed_once() {
        use Backend::{Dx12, Vulkan};
        type Entry = (Backend, u32, &'static str);
        let cases: [(&[Entry], &[usize]); 5] = [
            // two equal cards and their second driver
            (&[(Vulkan, 1, "01"), (Vulkan, 1, "02"), (Vulkan, 1, "01")], &[0, 1]),
            // both interfaces tell where the card is
            (&[(Vulkan, 1, "01"), (Dx12, 1, "01"), (Dx12, 2, "02")], &[0, 2]),
            // one of them doesn't
            (
                &[(Vulkan, 1, "01"), (Vulkan, 1, "02"), (Dx12, 1, ""), (Dx12, 1, ""), (Dx12, 2, "")],
                &[0, 1, 4],
            ),
            // nobody does: two equal cards by one interface are two
            (&[(Vulkan, 1, ""), (Vulkan, 1, ""), (Vulkan, 2, "")], &[0, 1, 2]),
            (&[], &[]),
        ];
        for (found, wanted) in cases {
            let infos: Vec<_> = found.iter().map(|&(api, device, pci)| info(api, device, pci)).collect();
            assert_eq!(one_each(&infos.iter().collect::<Vec<_>>()), wanted, "{found:?}");
        }
    }

    #[test]
    fn what_is_missing_is_said_without_what_was_never_wanted() {
        let complaint = "No suitable graphics adapter found; noop not requested, vulkan drivers/libraries could not \
                         be loaded, metal support not compiled in, gl not requested";
        assert_eq!(missing(complaint), "vulkan drivers/libraries could not be loaded");
        for other in ["out of memory", "nothing; gl not requested"] {
            assert_eq!(missing(other), other);
        }
    }

    #[test]
    fn a_gpu_is_named_by_its_place_on_the_bus_or_in_the_list() {
        assert_eq!(facts(3, &info(Backend::Vulkan, 1, "0000:01:00.0")).key, "gpu:0000:01:00.0");
        assert_eq!(facts(3, &info(Backend::Vulkan, 1, "")).key, "gpu:3");
    }
}
